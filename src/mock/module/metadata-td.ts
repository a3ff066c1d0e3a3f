import type { ModuleFeatures } from './facts.js';
import { MAXPA_FIELDS, TD_FIELDS, TOPOLOGY_FIELDS, VE_REDUCTION_FIELDS } from './fields-td.js';
import { type FieldRow, parseFields } from './metadata.js';
import type { ModuleState } from './module-state.js';
import { refuse } from './refusal.js';
import { architecturalEntry } from './sept.js';
import type { Td } from './td.js';
import { findVirtualCpuid, type TdConfiguration, type VirtualCpuid } from './td-params.js';
import { virtualVmxMsr } from './virtual-vmx.js';

const tables = new Map<string, FieldRow[]>();

/** The TDR and TDCS fields of this module. */
export function tdFields({ vpInitVersion, virtualMaxPa, veReduction }: ModuleFeatures): readonly FieldRow[] {
  const text = [TD_FIELDS, vpInitVersion > 0 ? TOPOLOGY_FIELDS : '', virtualMaxPa ? MAXPA_FIELDS : '']
    .concat(veReduction ? VE_REDUCTION_FIELDS : '')
    .join('');
  let rows = tables.get(text);
  if (!rows) {
    rows = parseFields(text.replaceAll('\n\n', '\n'));
    tables.set(text, rows);
  }
  return rows;
}

const quad = (bytes: Uint8Array, index: number): bigint =>
  new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(index * 8, true);

const MICROSECONDS = 1_000_000n;

/** Whoever asks: a SEAMCALL, or a TDCALL. */
type Asker = { readonly module: ModuleState };

type Reader = (td: Td, configuration: TdConfiguration, index: number, call: Asker) => bigint | number;

/** Values of the fields that this model keeps; the others belong to what it does not have (migration, L2 VMs) and read 0. */
const READERS: Readonly<Record<string, Reader>> = {
  FATAL: (td) => Number(td.fatal),
  NUM_TDCX: (td) => td.tdcxPages.length,
  CHLDCNT: (td) => td.children,
  LIFECYCLE_STATE: (td) => td.lifecycle,
  TDCX_PA: (td, _, index, call) => withHkid(call, td.tdcxPages[index], td.hkid),
  TD_UUID: (td, _, index) => td.uuid[index]!,
  HKID: (td) => td.hkid,
  PKG_CONFIG_BITMAP: (td) => [...td.keyedPackages].reduce((bits, pkg) => bits | (1 << pkg), 0),
  NUM_VCPUS: (td) => td.numVcpus,
  NUM_ASSOC_VCPUS: (td) => td.numAssociatedVcpus,
  OP_STATE: (td) => td.opState,
  NUM_L2_VMS: (_, c) => c.numL2Vms,
  ATTRIBUTES: (_, c) => c.attributes,
  XFAM: (_, c) => c.xfam,
  MAX_VCPUS: (_, c) => c.maxVcpus,
  GPAW: (_, c) => c.gpaw,
  EPTP: (td, c) => BigInt(c.eptpControls) | BigInt(td.tdcxPages[SEPT_ROOT_PAGE] ?? 0),
  TSC_OFFSET: (td) => td.tscOffset,
  TSC_MULTIPLIER: (_, c) => c.tscMultiplier,
  TSC_FREQUENCY: (_, c) => c.tscFrequency,
  NUM_CPUID_VALUES: (_, __, ___, call) => call.module.facts.cpuidLookup.length,
  XBUFF_SIZE: (_, c) => c.xbuffSize,
  HP_LOCK_TIMEOUT: (td, _, __, call) => (td.hpLockTimeout * MICROSECONDS) / nativeTsc(call),
  CONFIG_FLAGS: (_, c) => c.configFlags,
  TD_CTLS: (td) => td.tdCtls,
  NOTIFY_ENABLES: (td) => td.notifyEnables,
  X2APIC_IDS: (td, _, index) => td.x2apicIds[index] ?? 0,
  TOPOLOGY_ENUM_CONFIGURED: (td) => Number(td.topologyEnumConfigured),
  VIRT_MAXPA: (_, c) => c.virtMaxpa,
  VE_REDUCTION_VALID: (td) => Number(td.topologyEnumConfigured),
  CPUID_FIXED0_BITMAP: (_, { zeroLeaves }) => fixedLeavesBitmap(zeroLeaves),
  FEATURE_PARAVIRT_CTLS: (td) => td.featureParavirtCtls,
  CPUID_VALID: (_, c, index, call) => {
    const entry = call.module.facts.cpuidLookup[index];
    const row = entry && c.cpuid.find((r) => r.leaf === entry.leaf && r.subleaf === entry.subleaf);
    return Number(row?.valid ?? false);
  },
  TD_EPOCH: (td) => td.epoch,
  REFCOUNT: (td, _, index) => td.refcount[index]!,
  MRTD: (td, _, index) => quad(td.mrtd, index),
  MRCONFIGID: (_, c, index) => quad(c.mrConfigId, index),
  MROWNER: (_, c, index) => quad(c.mrOwner, index),
  MROWNERCONFIG: (_, c, index) => quad(c.mrOwnerConfig, index),
  RTMR: (td, _, index) => quad(td.rtmr, index),
  VIRTUAL_IA32_ARCH_CAPABILITIES: (_, c) => c.ia32ArchCapabilities,
  SEPT_ROOT: (td, _, index) => architecturalEntry(td.septRoot[index]),
};

/** Bits 51:0 are base leaves, bits 59:52 extended ones (x86_defs.h cpuid_fixed0_bitmap_t). */
const fixedLeavesBitmap = (leaves: ReadonlySet<number>): bigint =>
  [...leaves].reduce((bits, leaf) => bits | (1n << BigInt(leaf < 0x8000_0000 ? leaf : leaf - 0x8000_0000 + 52)), 0n);

const SEPT_ROOT_PAGE = 3;
const nativeTsc = (call: Asker): bigint => BigInt(call.module.facts.nativeTscFrequency);

const withHkid = (call: Asker, page: number | undefined, hkid: number): bigint =>
  page === undefined ? 0n : BigInt(page) | (BigInt(hkid) << BigInt(call.module.facts.hkidStartBit));

export function readTdField(call: Asker, td: Td, row: FieldRow, index: number): bigint {
  if (row.name.startsWith('VIRTUAL_IA32_VMX_')) return vmxMsr(call.module, td, row.code);
  return BigInt.asUintN(64, BigInt(READERS[row.name]?.(td, td.configuration!, index, call) ?? 0));
}

/** Fields of virtual MSRs have the MSR's number for a code. */
const vmxMsr = ({ boot, facts }: ModuleState, td: Td, index: number): bigint =>
  virtualVmxMsr(boot, td, index, facts.features.vpInitVersion > 0);

/** Class of CPUID_VALUES, whose code is element, sub-leaf, "no sub-leaf", leaf and bit 31 of the leaf. */
export const CPUID_CLASS = 0x14;

/** The row of the TD's CPUID values that a field code names, and which half of it. */
export function cpuidElement(
  configuration: TdConfiguration,
  code: number,
  { unlistedCpuidReadable }: ModuleFeatures,
): { row: VirtualCpuid; high: boolean } {
  const noSubleaf = (code & 0x100) !== 0;
  const subleaf = noSubleaf ? null : (code >>> 1) & 0x7f;
  const leaf = ((code >>> 9) & 0x7f) + (code & 0x1_0000 ? 0x8000_0000 : 0);
  const reserved = code >>> 17;
  const row = findVirtualCpuid(configuration, leaf, subleaf);
  if (reserved || (!row && !unlistedCpuidReadable)) throw refuse('module.metadata.id');
  if (!row?.valid) throw refuse('module.metadata.cpuid-readable');
  return { row, high: (code & 1) !== 0 };
}

/** EAX and EBX, or ECX and EDX, as one u64. */
export const cpuidValue = ({ row, high }: { row: VirtualCpuid; high: boolean }): bigint =>
  high ? BigInt(row.ecx) | (BigInt(row.edx) << 32n) : BigInt(row.eax) | (BigInt(row.ebx) << 32n);
