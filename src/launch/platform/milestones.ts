// How far a firmware is, from what it asks of the TDX module and its host. What tells a milestone is OVMF's way of doing it
// (OvmfPkg of edk2; release builds say nothing themselves).
import type { VcpuExit } from '../../kvm/index.js';

export type MilestoneName =
  | 'memory-accepted'
  | 'rtmr-extended'
  | 'pei-done'
  | 'dxe-dispatched'
  | 'serial-text'
  | 'boot-manager';

/** In their order. RTMRs are left alone by builds without measured boot: later ones may be reached without. */
const MILESTONES: readonly { name: MilestoneName; what: string; optional?: true }[] = [
  { name: 'memory-accepted', what: 'The TD HOB and the memory in it are accepted' },
  { name: 'rtmr-extended', what: 'A measurement is in an RTMR', optional: true },
  { name: 'pei-done', what: 'PEI is done, the DXE core runs' },
  { name: 'dxe-dispatched', what: 'The DXE dispatcher runs drivers' },
  { name: 'serial-text', what: 'There is text on the serial console' },
  { name: 'boot-manager', what: 'A boot manager or a UEFI shell is there' },
];

export interface Milestone {
  name: MilestoneName;
  what: string;
  reached?: MilestoneReached;
}

export interface MilestoneReached {
  /** Milliseconds since the detector was made. */
  atMs: number;
  /** Exits to user space, and TDCALLs as far as they are traced, until then. */
  exits: number;
  tdcalls: number;
  /** What told it. */
  by: string;
}

/** A TDCALL as the model's trace has it: registers in the order of encodings. */
export interface TracedTdcall {
  kind: 'tdcall';
  leaf: number;
  before: BigUint64Array;
  after?: BigUint64Array;
  /** The rulebook entry that refused it. */
  rule?: string;
}

export interface RtmrExtend {
  index: number;
  /** Where the guest had the 48 bytes. */
  gpa: bigint;
}

const [RAX, RCX, RDX] = [0, 1, 2];
const [VP_VMCALL, MR_RTMR_EXTEND, MEM_PAGE_ACCEPT] = [0, 2, 6];
const VMCALL_MASK = 'module.vmcall.mask';
const KVM_HC_MAP_GPA_RANGE = 12n;
/** PCI devices and ECAM of a q35 machine; PEI reaches configuration space by ports, DXE by ECAM (DxePciLibI440FxQ35). */
const PCI_HOLE = { first: 0xb000_0000n, last: 0xfebf_ffffn };
const BOOT_MANAGER = /UEFI (Interactive )?Shell|Shell>|BdsDxe|Boot Manager/;
/** Of text, as much as the longest of these may need to be seen. */
const TEXT_KEPT = 256;

/** Sees a run from its start: give it traced TDCALLs where there are some, exits, and the console. */
export class Milestones {
  readonly rtmrExtends: RtmrExtend[] = [];
  /** Registers (RCX) of the first TDG.VP.VMCALL that the module refused for them. */
  refusedMask: bigint | undefined;
  readonly #onReached: ((milestone: Milestone & { reached: MilestoneReached }) => void) | undefined;
  readonly #reached = new Map<MilestoneName, MilestoneReached>();
  readonly #clock: () => number;
  readonly #start: number;
  #exits = 0;
  #tdcalls = 0;
  #accepted = 0n;
  #text = '';

  /** @param clock milliseconds that only grow. @param onReached hears of each when it is reached */
  constructor(
    clock: () => number = () => performance.now(),
    onReached?: (milestone: Milestone & { reached: MilestoneReached }) => void,
  ) {
    this.#clock = clock;
    this.#onReached = onReached;
    this.#start = clock();
  }

  /** What there is to reach, in order, and what is. */
  get list(): Milestone[] {
    return MILESTONES.map(({ name, what }) => {
      const reached = this.#reached.get(name);
      return { name, what, ...(reached && { reached }) };
    });
  }

  /** The last one reached. */
  get last(): Milestone | undefined {
    return this.list.findLast(({ reached }) => reached);
  }

  /** The first one behind {@link last} that every firmware reaches; undefined where that is the end. */
  get next(): Milestone | undefined {
    const { list } = this;
    const lastAt = list.findLastIndex(({ reached }) => reached);
    return list.find((_, i) => i > lastAt && !MILESTONES[i]!.optional);
  }

  /** Events of the model's trace; other kinds than TDCALLs are of no interest. */
  guest(event: { kind: string } | TracedTdcall): void {
    if (!isTdcall(event)) return;
    this.#tdcalls++;
    const { leaf, before, after, rule } = event;
    if (rule === VMCALL_MASK) this.refusedMask ??= before[RCX]!;
    const done = after?.[RAX] === 0n;
    if (leaf === MEM_PAGE_ACCEPT && done) this.#accepted += 4096n << (9n * (before[RCX]! & 7n));
    if (leaf === MR_RTMR_EXTEND && done) {
      this.rtmrExtends.push({ index: Number(before[RDX]), gpa: before[RCX]! });
      this.#reach('rtmr-extended', `TDG.MR.RTMR.EXTEND of RTMR ${before[RDX]}`);
    }
    // The memory is accepted before anything is asked of the host.
    if (leaf === VP_VMCALL && this.#accepted > 0n) this.#memoryAccepted();
  }

  /** Exits of KVM_RUN. */
  exit(exit: VcpuExit): void {
    this.#exits++;
    if (exit.reason === 'io' || exit.reason === 'mmio') this.#memoryAccepted();
    if (exit.reason === 'mmio' && exit.gpa >= PCI_HOLE.first && exit.gpa <= PCI_HOLE.last) {
      this.#reach('pei-done', `PCI configuration by ECAM, at 0x${exit.gpa.toString(16)}`);
    }
    // TdxDxe, the first driver of the a-priori list, makes MMIO shared.
    if (exit.reason === 'hypercall' && exit.nr === KVM_HC_MAP_GPA_RANGE) {
      this.#reach('dxe-dispatched', `MapGPA of 0x${(exit.args[0] ?? 0n).toString(16)}`);
    }
  }

  /** Text of the serial console. */
  text(text: string): void {
    this.#text = (this.#text + text).slice(-TEXT_KEPT - text.length);
    if (/[\x21-\x7e]/.test(this.#text)) this.#reach('serial-text', 'the console');
    const found = BOOT_MANAGER.exec(this.#text);
    if (found) this.#reach('boot-manager', `"${found[0]}" on the console`);
  }

  #memoryAccepted(): void {
    const traced = this.#accepted > 0n ? `, ${this.#accepted >> 10n} KiB accepted` : '';
    this.#reach('memory-accepted', `the first request to the host${traced}`);
  }

  #reach(name: MilestoneName, by: string): void {
    if (this.#reached.has(name)) return;
    const atMs = this.#clock() - this.#start;
    const reached = { atMs, exits: this.#exits, tdcalls: this.#tdcalls, by };
    this.#reached.set(name, reached);
    this.#onReached?.({ name, what: MILESTONES.find((milestone) => milestone.name === name)!.what, reached });
  }
}

const isTdcall = (event: { kind: string }): event is TracedTdcall => event.kind === 'tdcall';
