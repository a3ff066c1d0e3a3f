import type { KvmSystem } from '../../kvm/system.js';
import type { GuestEngine } from './engine.js';

/** `auto`: kvm where this host can and its guests see exactly what the model shows them, else the interpreter. */
export type EngineKind = 'auto' | 'kvm' | 'interpreter';

export interface EngineChoice {
  wanted: EngineKind;
  /** Opens a real KVM for plain VMs; left out where there is none to be had. The engine closes it. */
  plainKvm?: (() => KvmSystem) | undefined;
}

/** The same engine, with a reason in its description. */
function because(engine: GuestEngine, reason: string): GuestEngine {
  return {
    name: engine.name,
    description: `${engine.description} (${reason})`,
    openTd: (space) => engine.openTd(space),
    close: () => engine.close(),
  };
}

// Engines are loaded when they are wanted: their decoder is almost a megabyte of WebAssembly.
async function interpreter(reason: string): Promise<GuestEngine> {
  const { interpreterEngine } = await import('./interpreter/index.js');
  return because(interpreterEngine(), reason);
}

const NO_KVM = 'no real KVM was given to the model';

/**
 * What executes guests on this machine; its `description` says why this one.
 * @throws Error with code ERR_ENGINE_UNAVAILABLE where `kvm` is wanted and this host cannot, with the reason and a remedy.
 */
export async function chooseEngine({ wanted, plainKvm }: EngineChoice): Promise<GuestEngine> {
  if (wanted === 'interpreter') return interpreter('as wanted');
  let reason = NO_KVM;
  try {
    if (plainKvm !== undefined) {
      const { kvmEngine } = await import('./kvm/engine.js');
      const engine = await kvmEngine(plainKvm, { exactCpuid: wanted === 'auto' });
      return because(engine, wanted === 'kvm' ? 'as wanted' : 'this host’s KVM can run plain VMs');
    }
  } catch (error) {
    reason = (error as Error).message;
    if (wanted === 'kvm') throw unavailable(reason, error);
  }
  if (wanted === 'kvm') throw unavailable(reason);
  return interpreter(`engine kvm is not possible: ${reason}`);
}

const unavailable = (reason: string, cause?: unknown): Error =>
  Object.assign(
    new Error(
      `engine kvm is not possible here: ${reason}. It needs a usable /dev/kvm (any vendor, no TDX) and the native addon; ` +
        'choose the engine "interpreter", which needs neither',
      { cause },
    ),
    { code: 'ERR_ENGINE_UNAVAILABLE' },
  );
