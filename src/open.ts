import { type BackendKind, KVM_CAP, KVM_X86_TDX_VM, type KvmSystem } from './kvm/index.js';
import {
  type EngineKind,
  type Fault,
  type MockHostOptions,
  openMock,
  type Profile,
  type ProfileDocument,
} from './mock/index.js';
import { openNative } from './native/index.js';

export interface OpenOptions {
  /**
   * `native` the real `/dev/kvm`, `mock` the model, `auto` (default) the real one where KVM offers TDX VMs and the model
   * elsewhere. `KVM_TDX_BACKEND` in the environment takes the place of `auto`.
   */
  backend?: BackendKind | 'auto';
  /** The host to model: a bundled profile's name, a profile file, or a profile. */
  profile?: string | ProfileDocument | Profile;
  /** Failures that the model makes on demand. */
  faults?: readonly Fault[];
  /**
   * What executes the model's guests: a plain VM of `/dev/kvm` (`kvm`), software (`interpreter`), or the first of them that
   * this machine has (`auto`, default). Nothing to the native backend, where the processor does.
   */
  engine?: EngineKind;
  /** Watches the model: called after each try of a SEAMCALL. */
  onSeamcall?: MockHostOptions['onSeamcall'];
  /** Watches the model's guests: called after each TDCALL, each exception that the TDX module injects and each TD exit. */
  onGuest?: MockHostOptions['onGuest'];
}

const ENGINES: readonly string[] = ['auto', 'kvm', 'interpreter'];

const BACKENDS: readonly string[] = ['auto', 'native', 'mock'];

function chosenBackend(option: OpenOptions['backend'] = 'auto'): BackendKind | 'auto' {
  const wanted = option === 'auto' ? process.env['KVM_TDX_BACKEND'] || 'auto' : option;
  if (!BACKENDS.includes(wanted)) {
    const where = option === 'auto' ? 'KVM_TDX_BACKEND' : 'backend';
    throw new TypeError(`${where} is '${wanted}', expected one of ${BACKENDS.join(', ')}`);
  }
  return wanted as BackendKind | 'auto';
}

/**
 * Opens KVM: `/dev/kvm`, or a model of it on hosts without TDX. What runs, and why, is in `backend` and `description`.
 *
 * @throws TypeError if the backend or the engine is unknown.
 * @throws KvmError if `native` is asked for and `/dev/kvm` cannot be opened (ENOENT, EACCES).
 * @throws Error with code ERR_KVM_NO_ADDON if `native` is asked for and the addon is not there.
 * @throws ProfileError or FaultError if a profile or a fault is unknown or malformed.
 */
export function openKvm(options: OpenOptions = {}): KvmSystem {
  const backend = chosenBackend(options.backend);
  if (options.engine !== undefined && !ENGINES.includes(options.engine))
    throw new TypeError(`engine is '${options.engine}', expected one of ${ENGINES.join(', ')}`);
  const openModel = (why: string): KvmSystem =>
    openMock({
      why,
      plainKvm: () => openNative(),
      ...(options.engine !== undefined && { engine: options.engine }),
      ...(options.profile !== undefined && { profile: options.profile }),
      ...(options.faults !== undefined && { faults: options.faults }),
      ...(options.onSeamcall && { onSeamcall: options.onSeamcall }),
      ...(options.onGuest && { onGuest: options.onGuest }),
    });

  if (backend === 'mock') return openModel('asked for');
  const modelOnly = options.profile !== undefined ? 'profile' : options.faults !== undefined ? 'faults' : undefined;
  if (backend === 'native') {
    if (modelOnly)
      throw new TypeError(`${modelOnly} belongs to the model, but the backend is 'native'; leave one of them out`);
    return openNative();
  }
  if (modelOnly) return openModel(`${modelOnly} given`);

  let system: KvmSystem;
  try {
    system = openNative();
  } catch (error) {
    return openModel((error as Error).message);
  }
  if (system.checkExtension(KVM_CAP.VM_TYPES) & (1 << KVM_X86_TDX_VM)) return system;
  system.close();
  return openModel('KVM here does not offer TDX VMs');
}
