import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import { errnoNumber } from '../../src/kvm/errno.js';
import { KvmError } from '../../src/kvm/errors.js';
import { tdxStatus } from '../../src/kvm/status.js';
import type { KvmVm, TdxInitVm } from '../../src/kvm/vm.js';

/** Throws as KVM_TDX_INIT_VM does. */
export function refuse(code: string, hwError?: bigint): never {
  throw new KvmError({ errno: errnoNumber(code), request: 'KVM_TDX_INIT_VM', ...(hwError && { hwError }) });
}

export const refuseCpuid = (): never => refuse('EINVAL', tdxStatus('TDX_OPERAND_INVALID', 69));

/** A host's KeyIDs, of which a TD holds one from a successful KVM_TDX_INIT_VM to its end. */
export class KeyIds {
  held = 0;
  mostHeld = 0;

  take(): void {
    this.held++;
    this.mostHeld = Math.max(this.mostHeld, this.held);
  }
}

/** The module's check of CPUID_CONFIG: a 1 outside `accepted` is refused, entry by entry. */
export const outsideMask = (entries: readonly CpuidEntry[], accepted: readonly CpuidEntry[]): boolean =>
  entries.some((entry) => {
    const mask = accepted.find((row) => row.function === entry.function && row.index === entry.index);
    if (mask === undefined) return true;
    // KVM takes the GPAW out before the module looks.
    const eax = entry.function === 0x80000008 ? entry.eax & ~0xff0000 : entry.eax;
    return [
      [eax, mask.eax],
      [entry.ebx, mask.ebx],
      [entry.ecx, mask.ecx],
      [entry.edx, mask.edx],
    ].some(([value, allowed]) => (value! & ~allowed!) !== 0);
  });

export interface FakeVmOptions {
  /** Throws where KVM_TDX_INIT_VM does. */
  initVm?: (params: TdxInitVm) => void;
  keyIds?: KeyIds;
  /** KVM_CHECK_EXTENSION(KVM_CAP_MAX_VCPUS). */
  maxVcpus?: number;
  /** KVM_ENABLE_CAP(KVM_CAP_MAX_VCPUS): what the VM then has, or throws. Absent: EINVAL. */
  setMaxVcpus?: (wanted: number) => number;
}

/** As much of a VM as these tests need; everything else is missing and fails. */
export class FakeVm {
  closed = false;
  initialised = false;
  inits = 0;
  readonly #options: FakeVmOptions;
  #maxVcpus: number;

  constructor(options: FakeVmOptions) {
    this.#options = options;
    this.#maxVcpus = options.maxVcpus ?? 8;
  }

  readonly tdx = {
    initVm: (params: TdxInitVm): void => {
      this.inits++;
      if (this.closed || this.initialised) refuse('EINVAL');
      this.#options.initVm?.(params);
      this.initialised = true;
      this.#options.keyIds?.take();
    },
  };

  checkExtension(): number {
    return this.#maxVcpus;
  }

  enableCap(_capability: number, [wanted]: readonly bigint[]): void {
    if (this.#options.setMaxVcpus === undefined) refuse('EINVAL');
    this.#maxVcpus = this.#options.setMaxVcpus(Number(wanted));
  }

  getTscKhz(): number {
    return 2_000_000;
  }

  close(): void {
    if (this.initialised && !this.closed && this.#options.keyIds) this.#options.keyIds.held--;
    this.closed = true;
  }

  asKvmVm(): KvmVm {
    return this as unknown as KvmVm;
  }
}
