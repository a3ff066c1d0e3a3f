import type { Call } from './call.js';
import { VMCS_FIELDS } from './fields-vmcs.js';
import { VP_FIELDS } from './fields-vp.js';
import {
  type FieldElement,
  type FieldRow,
  fieldClass,
  fieldCode,
  findField,
  notValid,
  parseFields,
} from './metadata.js';
import type { ModuleState } from './module-state.js';
import { refuse } from './refusal.js';
import type { Vcpu } from './td.js';

let tdvps: FieldRow[] | undefined;
let vmcs: FieldRow[] | undefined;

const VMCS_CLASS = 0;
const ACCESS_HIGH = 1;

/** VMCS encodings that hosts write (Intel SDM volume 3, appendix B; SHARED_EPTP is the TD's own). */
const VMCS = {
  POSTED_INTERRUPT_NOTIFICATION_VECTOR: 0x0002,
  TSC_OFFSET: 0x2010,
  POSTED_INTERRUPT_DESCRIPTOR: 0x2016,
  TSC_MULTIPLIER: 0x2032,
  SHARED_EPTP: 0x203c,
  PIN_BASED_CONTROLS: 0x4000,
  TD_HKID: 0x4026,
} as const;

const PROCESS_POSTED_INTERRUPTS = 0x80n;
const VECTOR_MAX = 255n;
const ALL_ONES = (1n << 64n) - 1n;
const NOT_WRITTEN: Readonly<Record<number, bigint>> = {
  [VMCS.POSTED_INTERRUPT_NOTIFICATION_VECTOR]: 0xffffn,
  [VMCS.POSTED_INTERRUPT_DESCRIPTOR]: ALL_ONES,
};
/** Bytes at a host-physical address that the host writes into a field. */
const SHARED_HPA: Readonly<Record<number, number>> = {
  [VMCS.POSTED_INTERRUPT_DESCRIPTOR]: 64,
  [VMCS.SHARED_EPTP]: 4096,
};

export function vpField(id: bigint): FieldElement {
  if (fieldClass(id) !== VMCS_CLASS) {
    tdvps ??= parseFields(VP_FIELDS);
    return findField(tdvps, id);
  }
  vmcs ??= parseFields(VMCS_FIELDS, 2);
  const element = findField(vmcs, id);
  if (fieldCode(id) & ACCESS_HIGH) throw refuse('module.metadata.id');
  return element;
}

const codeOf = ({ row, index }: FieldElement): number => row.code + index * row.stride;
const keyOf = (element: FieldElement): number => element.row.class * 0x100_0000 + codeOf(element);

const GPRS = [
  'RAX',
  'RCX',
  'RDX',
  'RBX',
  'RSP_PLACEHOLDER',
  'RBP',
  'RSI',
  'RDI',
  'R8',
  'R9',
  'R10',
  'R11',
  'R12',
  'R13',
  'R14',
  'R15',
];
/** Whoever asks: a SEAMCALL, or a TDCALL. */
type Asker = { readonly module: ModuleState };

const NO_LP = 0xffff_ffff;

const READERS: Readonly<Record<string, (vcpu: Vcpu, index: number, call: Asker) => bigint | number>> = {
  VCPU_STATE: (vcpu) => vcpu.state,
  VCPU_INDEX: (vcpu) => vcpu.index,
  NUM_TDVPS_PAGES: (vcpu) => vcpu.pages.length,
  ASSOC_LPID: (vcpu) => (vcpu.associated ? 0 : NO_LP),
  VCPU_EPOCH: (vcpu) => vcpu.epoch,
  PEND_NMI: (vcpu) => vcpu.pendNmi,
  VAPIC: ({ apic }, index) => apic.quadword(index),
  // Bit 0, VMXIP; what is posted and not yet taken is not in it.
  VCPU_STATE_DETAILS: ({ apic }) => (apic.pending === undefined ? 0 : 1),
  XFAM: (vcpu) => vcpu.td.configuration!.xfam,
  XCR0: (vcpu) => vcpu.xcr0,
  IA32_XSS: (vcpu) => vcpu.xss,
  EXIT_REASON: ({ veInfo }) => veInfo?.exitReason ?? 0,
  VALID: ({ veInfo }) => (veInfo ? 0xffff_ffff : 0),
  EXIT_QUALIFICATION: ({ veInfo }) => veInfo?.qualification ?? 0,
  GLA: ({ veInfo }) => veInfo?.gla ?? 0,
  GPA: ({ veInfo }) => veInfo?.gpa ?? 0,
  INSTRUCTION_LENGTH: ({ veInfo }) => veInfo?.instructionLength ?? 0,
  INSTRUCTION_INFORMATION: ({ veInfo }) => veInfo?.instructionInformation ?? 0,
  LAST_TD_EXIT: (vcpu) => vcpu.lastTdExit,
  CPUID_SUPERVISOR_VE: ({ cpuidVe }) => cpuidVe.supervisor,
  CPUID_USER_VE: ({ cpuidVe }) => cpuidVe.user,
  CPUID_CONTROL: ({ cpuidControl }, index) => cpuidControl[index]!,
  // No deadline, for the VMs that there are (helpers.c init_tdvps_fields).
  TSC_DEADLINE: ({ td }, vm) => (vm <= td.configuration!.numL2Vms ? ALL_ONES : 0),
  TDVPS_PAGE_PA: ({ pages, td }, index, call) =>
    pages[index] === undefined ? 0 : BigInt(pages[index]) | (BigInt(td.hkid) << BigInt(call.module.facts.hkidStartBit)),
};

/** The page of the TDCS that is the empty shared EPT of a new VCPU. */
const ZERO_PAGE = 4;

const readVmcs = (vcpu: Vcpu, code: number): bigint => {
  const { configuration, hkid, tscOffset, tdcxPages } = vcpu.td;
  if (code === VMCS.SHARED_EPTP) return BigInt(tdcxPages[ZERO_PAGE]!);
  if (code === VMCS.TSC_OFFSET) return tscOffset;
  if (code === VMCS.TSC_MULTIPLIER) return configuration!.tscMultiplier;
  if (code === VMCS.TD_HKID) return BigInt(hkid);
  return NOT_WRITTEN[code] ?? 0n;
};

/** Current value of a field. VMCS fields that neither host nor guest storey ever wrote read as after TDH.VP.INIT, or 0. */
export function readVpField(call: Asker, vcpu: Vcpu, element: FieldElement): bigint {
  const stored = vcpu.fields.get(keyOf(element));
  if (stored !== undefined) return stored;
  const { row, index } = element;
  if (row.class === VMCS_CLASS) return readVmcs(vcpu, codeOf(element));
  const gpr = GPRS.indexOf(row.name);
  if (gpr >= 0) return vcpu.gprs[gpr]!;
  return BigInt(READERS[row.name]?.(vcpu, index, call) ?? 0);
}

/**
 * What a write leaves of the old value where the field's mask does not reach: an address that was never written is all ones,
 * and counts as 0 there (md_vp_adjust_value_per_field_attr_on_wr).
 */
export const writeBase = (element: FieldElement, old: bigint, debug: boolean): bigint =>
  old === ALL_ONES && element.row.class === VMCS_CLASS && SHARED_HPA[codeOf(element)] !== undefined
    ? old & element.row.access[debug ? 'debug' : 'production'].write
    : old;

/** Stores what a host wrote, after the checks that some fields have of their own. */
export function writeVpField(call: Call, vcpu: Vcpu, element: FieldElement, value: bigint): void {
  const code = codeOf(element);
  if (element.row.class === VMCS_CLASS) {
    const size = SHARED_HPA[code];
    if (size !== undefined && call.sharedAddress(value, size) === undefined) throw notValid();
    if (code === VMCS.POSTED_INTERRUPT_NOTIFICATION_VECTOR && value > VECTOR_MAX) throw notValid();
    if (code === VMCS.PIN_BASED_CONTROLS && value & PROCESS_POSTED_INTERRUPTS) checkPostedInterrupts(vcpu);
  }
  storeVpField(vcpu, element, value);
}

/** Stores a value that has passed all checks. */
export function storeVpField(vcpu: Vcpu, element: FieldElement, value: bigint): void {
  const { name } = element.row;
  const gpr = GPRS.indexOf(name);
  if (gpr >= 0) vcpu.gprs[gpr] = value;
  else if (name === 'CPUID_SUPERVISOR_VE') vcpu.cpuidVe.supervisor = Number(value);
  else if (name === 'PEND_NMI') vcpu.pendNmi = Number(value);
  else if (name === 'CPUID_USER_VE') vcpu.cpuidVe.user = Number(value);
  else if (name === 'CPUID_CONTROL') vcpu.cpuidControl[element.index] = Number(value);
  else vcpu.fields.set(keyOf(element), value);
}

function checkPostedInterrupts(vcpu: Vcpu): void {
  for (const code of [VMCS.POSTED_INTERRUPT_NOTIFICATION_VECTOR, VMCS.POSTED_INTERRUPT_DESCRIPTOR])
    if ((vcpu.fields.get(code) ?? NOT_WRITTEN[code]) === NOT_WRITTEN[code])
      throw refuse('module.metadata.vmcs-initialized', code);
}
