import { KvmError } from '../kvm/index.js';

/** errno that a later try of the same request may not give, by request. */
const RETRYABLE: Readonly<Record<string, readonly string[]>> = {
  // TDH.MNG.CREATE or ADDCX found no entropy ten times in a row (tdx.c __tdx_td_init).
  KVM_TDX_INIT_VM: ['EAGAIN', 'EINTR'],
  // TDX_OPERAND_BUSY of TDH.MR.FINALIZE; other failures of it leave a dead VM.
  KVM_TDX_FINALIZE_VM: ['EBUSY', 'EINTR'],
};

/** QEMU's bound for KVM_TDX_INIT_VM. */
const MAX_TRIES = 10_000;

/** Repeats a request while the kernel says that another try may help. */
export function retrying<T>(request: keyof typeof RETRYABLE, body: () => T): T {
  for (let tries = 1; ; tries++) {
    try {
      return body();
    } catch (error) {
      const again = error instanceof KvmError && RETRYABLE[request]?.includes(error.code) && tries < MAX_TRIES;
      if (!again) throw error;
    }
  }
}
