import { MachineCheck } from '../mock/kernel/run/machine-check.js';
import type { kvmIrqRoutingEntry } from './layout/plain.js';
import type { kvmTprAccessCtl } from './layout/state.js';
import type { Decoded } from './layout/struct.js';

/** What KVM keeps of a VM that says nothing about TDX. */
export class PlainVm {
  /** kvmclock_offset: what KVM_GET_CLOCK adds to the host's clock, nanoseconds. */
  clockOffset = -process.hrtime.bigint();
  routes: readonly Decoded<(typeof kvmIrqRoutingEntry)['fields']>[] = [];
  /** GSI by eventfd. */
  readonly irqfds = new Map<string, number>();
  /** Bus, address, length, value and eventfd in one. */
  readonly ioeventfds = new Set<string>();
  pit = false;
  /** Bytes of interrupt controllers and the PIT. */
  readonly chips = new Map<string, Uint8Array>();
}

/** What KVM keeps of a vCPU that says nothing about TDX. */
export class PlainVcpu {
  /** Bytes of structures that are read back as they were set, by name. */
  readonly kept = new Map<string, Uint8Array>();
  /** MSRs of a plain vCPU. */
  readonly msrs = new Map<number, bigint>();
  readonly machineCheck = new MachineCheck();
  /** pending_external_vector. */
  pendingVector: number | undefined;
  tpr: Decoded<(typeof kvmTprAccessCtl)['fields']> | undefined;
  tscOffset = 0n;
  /** mp_state beyond RUNNABLE and UNINITIALIZED, which the kernel storey keeps. */
  mpState: number | undefined;
}
