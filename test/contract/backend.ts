import type { KvmSystem } from '../../src/kvm/index.js';

/** One implementation of the seam, as the conformance suite sees it. */
export interface Backend {
  name: string;
  open(): KvmSystem;
  /** Why it cannot be tested on this machine. */
  unavailable?: string | undefined;
  /** Its plain VMs execute instructions. */
  runsGuests: boolean;
  /** It has the TDX VM type. */
  runsTds: boolean;
}
