import type { KvmSystem } from '../../../kvm/system.js';
import type { EngineTd, GuestEngine, GuestSpace } from '../engine.js';
import { isFaithful } from './deprivileged/index.js';
import { type Abilities, probe } from './probe.js';
import { KvmTd } from './td.js';

export interface KvmEngineOptions {
  /**
   * Replace TDCALL in the guest's code although KVM shows it by itself; for tests, and for comparing the two ways.
   */
  patchTdcall?: boolean;
  /** Whether code of CPL 0 runs at CPL 3; left out: where KVM emulates it and a small guest finds no difference. */
  deprivilege?: boolean;
  /** Refuse a host whose guests see features in CPUID that were hidden from them. */
  exactCpuid?: boolean;
}

const UNHIDDEN = 'this kernel’s guests see features in CPUID that were hidden from them';

/** Executes TDs' instructions on plain VMs of a real KVM. */
class KvmEngine implements GuestEngine {
  readonly name = 'kvm';
  readonly description: string;
  readonly #tds = new Set<KvmTd>();

  constructor(
    private readonly system: KvmSystem,
    private readonly abilities: Abilities,
    private readonly patchTdcall: boolean,
    private readonly deprivileges: boolean,
  ) {
    const how = patchTdcall
      ? 'replaced in code by a port write of its length'
      : 'seen where KVM’s emulator gives it up (KVM_EXIT_INTERNAL_ERROR)';
    const bits = abilities.sharedBits.join(' or ');
    const seen = abilities.unhidden === 0 ? '' : `; ${UNHIDDEN}`;
    this.description = `a plain VM of ${system.description}; TDCALL is ${how}; SHARED bit ${bits}${this.#speed()}${seen}`;
  }

  #speed(): string {
    const { emulates } = this.abilities;
    const deprivileged = '64-bit code of CPL 0 runs at CPL 3';
    if (emulates === undefined) return this.deprivileges ? `; ${deprivileged}` : '';
    const slow = `this kernel emulates privileged code, about ${emulates.toFixed(1)} million instructions a second`;
    return this.deprivileges ? `; ${slow}, so ${deprivileged}` : `; ${slow}`;
  }

  openTd(space: GuestSpace): EngineTd {
    const td: KvmTd = new KvmTd(this.system, space, this.abilities, this.patchTdcall, {
      deprivileges: this.deprivileges,
      onClose: () => this.#tds.delete(td),
    });
    this.#tds.add(td);
    return td;
  }

  close(): void {
    for (const td of this.#tds) td.close();
    this.system.close();
  }
}

/**
 * An engine on plain VMs (type 0) of the KVM that `open` gives; it closes that KVM with itself. Tiny guests find out first how
 * TDCALL appears on this host.
 *
 * What it cannot do: a processor in a plain VM answers CPUID by itself, from the table of KVM_SET_CPUID2, and executes WBINVD,
 * XSETBV and others. Such instructions are found by following the guest's control flow from every address where it stopped
 * (see Discovery), and replaced by port writes; the guest sees the replacement if it reads its code. One that was not found
 * before it is executed is answered by KVM: CPUID with the module's value, or this host's where a TD would get a #VE.
 * @throws Error that says why this host's plain VMs cannot stand in for TDs.
 */
export async function kvmEngine(open: () => KvmSystem, options: KvmEngineOptions = {}): Promise<GuestEngine> {
  const system = open();
  try {
    const abilities = await probe(system);
    if (options.exactCpuid && abilities.unhidden !== 0) throw new Error(UNHIDDEN);
    const patchTdcall = options.patchTdcall ?? abilities.tdcall === 'undefined-opcode';
    const slow = abilities.emulates !== undefined;
    const deprivileges = options.deprivilege ?? (slow && (await isFaithful(system, abilities)));
    return new KvmEngine(system, abilities, patchTdcall, deprivileges);
  } catch (error) {
    system.close();
    throw error;
  }
}
