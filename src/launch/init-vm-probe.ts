import { KvmError } from '../kvm/errors.js';
import type { KvmVm, TdxInitVm } from '../kvm/vm.js';
import { SearchStopped } from './find-culprits.js';

export interface ProbeOptions {
  /**
   * Makes a VM as the failed one was made (KVM_CREATE_VM, KVM_SET_TSC_KHZ, maximum of vCPUs). With it, the search goes on after an
   * attempt that succeeds, and the failed VM stays as it is. Every VM made is closed before the next one.
   */
  readonly freshVm?: () => KvmVm;
  /** Most KVM_TDX_INIT_VM calls; default 128. */
  readonly maxAttempts?: number;
}

const RETRIES_WITHOUT_ENTROPY = 10;

/**
 * Tries variants of KVM_TDX_INIT_VM. A failed attempt leaves its VM as it was and holds no KeyID; a successful one makes a TD
 * of it, so that at most one KeyID is held at any time, and on the failed VM itself the first success is the last attempt.
 */
export class InitVmProbe {
  attempts = 0;
  /** The failed VM has become a TD by a successful attempt. */
  vmInitialised = false;
  readonly #vm: KvmVm;
  readonly #freshVm: (() => KvmVm) | undefined;
  readonly #maxAttempts: number;
  #current: KvmVm | undefined;

  constructor(vm: KvmVm, { freshVm, maxAttempts = 128 }: ProbeOptions) {
    this.#vm = vm;
    this.#freshVm = freshVm;
    this.#maxAttempts = maxAttempts;
  }

  /** True if the module refuses the CPUID values. @throws SearchStopped if that cannot be told. */
  refusesCpuid(params: TdxInitVm): boolean {
    for (let retry = 0; ; retry++) {
      if (this.attempts >= this.#maxAttempts) throw new SearchStopped(`${this.attempts} attempts were made`);
      if (this.vmInitialised) throw new SearchStopped('an attempt succeeded, and the VM has become a TD');
      this.attempts++;
      try {
        this.#current ??= this.#freshVm?.() ?? this.#vm;
        this.#current.tdx.initVm(params);
      } catch (error) {
        if (!(error instanceof KvmError)) throw error;
        if (error.tdxStatus?.operand === 'CPUID_CONFIG') return true;
        if (error.code === 'EAGAIN' && retry < RETRIES_WITHOUT_ENTROPY) continue;
        throw new SearchStopped(`an attempt failed for another reason: ${error.message}`);
      }
      if (this.#freshVm === undefined) this.vmInitialised = true;
      else this.close();
      return false;
    }
  }

  /** Closes the VM that freshVm made last; never the failed one. */
  close(): void {
    if (this.#freshVm !== undefined) this.#current?.close();
    this.#current = undefined;
  }
}
