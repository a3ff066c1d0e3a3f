import type { EngineVcpu } from '../guest/engine.js';
import type { GuestTd } from './guest-td.js';
import type { VeInfo } from './guest-ve.js';
import type { MrtdBuilder } from './mrtd.js';
import { OP_STATE, type OpState } from './op-state.js';
import { newSeptTable, type SeptTable } from './sept.js';
import type { TdConfiguration } from './td-params.js';
import { VirtualApic } from './virtual-apic.js';

/** TDR.LIFECYCLE_STATE (td_control_structures.h). */
export const LIFECYCLE = { HKID_ASSIGNED: 0, KEYS_CONFIGURED: 1, BLOCKED: 2, TEARDOWN: 3 } as const;
export type Lifecycle = (typeof LIFECYCLE)[keyof typeof LIFECYCLE];

/** Pages of a TDCS: at least 6, at most one more for each of 3 L2 VMs. */
export const MIN_TDCX = 6;
export const MAX_TDCX = 9;

/** A TD as the module keeps it: TDR, TDCS and the root of its secure EPT. */
export class Td {
  readonly tdrPa: number;
  readonly hkid: number;
  /** 256 random bits, as four u64. */
  readonly uuid: BigUint64Array;
  fatal = false;
  lifecycle: Lifecycle = LIFECYCLE.HKID_ASSIGNED;
  /** Pages that the TD owns, TDR not counted. */
  children = 0;
  readonly keyedPackages = new Set<number>();
  readonly tdcxPages: number[] = [];

  opState: OpState = OP_STATE.UNINITIALIZED;
  /** Set by TDH.MNG.INIT. */
  configuration?: TdConfiguration;
  numVcpus = 0;
  numAssociatedVcpus = 0;
  /** By VCPU_INDEX; 0 where no version 1 of TDH.VP.INIT gave one. */
  x2apicIds: number[] = [];
  /** Every VCPU so far was given an x2APIC id. */
  topologyEnumConfigured = true;
  tscOffset = 0n;
  hpLockTimeout = 0n;

  /** TLB tracking: the current epoch, and the VCPUs inside that entered in an even or odd one. */
  epoch = 1n;
  readonly refcount: [even: number, odd: number] = [0, 0];

  septRoot: SeptTable = newSeptTable();
  measurement?: MrtdBuilder;
  /** 48 bytes, zeros until TDH.MR.FINALIZE. */
  mrtd: Uint8Array = new Uint8Array(48);
  /** Four registers of 48 bytes, extended by the guest. */
  readonly rtmr = new Uint8Array(4 * 48);
  /** TDCS.TD_CTLS and TDCS.FEATURE_PARAVIRT_CTLS, written by the guest. */
  tdCtls = 0n;
  featureParavirtCtls = 0n;
  /** Bit 0: the guest hears of suspected single-stepping; here nobody steps. */
  notifyEnables = 0n;
  readonly vcpus: Vcpu[] = [];
  /** Its memory in the engine that runs it, from the first entry on. */
  guest?: GuestTd;

  constructor(tdrPa: number, hkid: number, uuid: BigUint64Array) {
    this.tdrPa = tdrPa;
    this.hkid = hkid;
    this.uuid = uuid;
  }

  /** Level of the secure EPT's root: 3 or 4. */
  get rootLevel(): number {
    return (this.configuration!.eptpControls >> 3) & 7;
  }

  /** Whether every VCPU inside when a page was blocked in `epoch` has left since (is_tlb_tracked). */
  isTracked(bepoch: bigint): boolean {
    if (bepoch === this.epoch - 1n) return this.refcount[bepoch & 1n ? 1 : 0] === 0;
    return bepoch < this.epoch - 1n;
  }
}

/** TDVPS.VCPU_STATE (tdx_tdvps.h). */
export const VCPU_STATE = { UNINITIALIZED: 0, READY: 2, ACTIVE: 4, DISABLED: 8 } as const;
export type VcpuState = (typeof VCPU_STATE)[keyof typeof VCPU_STATE];

/** TDVPS.LAST_TD_EXIT (tdx_tdvps.h): how the next entry begins. */
export const LAST_EXIT = { ASYNC_FAULT: 0, ASYNC_TRAP: 1, TDVMCALL: 2 } as const;
export type LastExit = (typeof LAST_EXIT)[keyof typeof LAST_EXIT];

/** Pages of a TDVPS: 6, and 3 for each L2 VM. */
export const MIN_TDVPS = 6;
export const TDVPS_PER_L2 = 3;
export const MAX_TDVPS = 15;

/** General-purpose registers in the order of their encodings: RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 .. R15. */
export type Gprs = BigUint64Array;

/** A VCPU as the module keeps it: TDVPR and the other pages of its TDVPS. */
export class Vcpu {
  state: VcpuState = VCPU_STATE.UNINITIALIZED;
  readonly pages: number[];
  index = 0;
  x2apicId = 0;
  associated = false;
  epoch = 0n;
  /** TDVPS.PEND_NMI: the host wants an NMI for the guest. */
  pendNmi = 0;
  readonly apic = new VirtualApic();
  /** State at the next entry; RSP (index 4) lives in the VMCS. */
  readonly gprs: Gprs = new BigUint64Array(16);
  /** Written by the guest: XCR0 and IA32_XSS. */
  xcr0 = 1n;
  xss = 0n;
  /** Host-written fields of the TD VMCS and the TDVPS, by class and code. */
  readonly fields = new Map<number, bigint>();
  lastTdExit: LastExit = LAST_EXIT.ASYNC_FAULT;
  /** Of the last #VE, until the guest has read it. */
  veInfo?: VeInfo | undefined;
  /** Set by TDG.VP.CPUIDVE.SET: every CPUID at privilege level 0, or above, gives a #VE if not 0. */
  readonly cpuidVe = { supervisor: 0, user: 0 };
  /** By lookup index: bit 0 and 1 the same for one leaf. */
  readonly cpuidControl = new Uint8Array(128);
  /** MSRs that the guest wrote, where neither module nor engine keeps them elsewhere. */
  readonly msrs = new Map<number, bigint>();
  /** The processor that executes it, from the first entry on. */
  guest?: EngineVcpu;

  constructor(
    readonly td: Td,
    readonly tdvprPa: number,
  ) {
    this.pages = [tdvprPa];
  }
}

/** Ends the TD in its engine, with all that its memory held: its key is gone, or the model ends. */
export function closeGuest(td: Td): void {
  td.guest?.close();
  delete td.guest;
}
