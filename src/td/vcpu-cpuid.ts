import { CPUID_REGISTERS } from '../cpuid/names.js';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import { entryAt, fieldOf, type RegisterValues, withBits, withGpaw } from './cpuid-entries.js';
import type { TdHostFacts } from './host-facts.js';
import type { ResolvedTd } from './resolve.js';
import { LEVEL, leafBOf, levelType, TOPOLOGY_SUBLEAVES, topologyLevel } from './topology.js';

// KVM_FEATURE_* bits that work without the host reading guest memory: NOP_IO_DELAY, PV_UNHALT, PV_TLB_FLUSH, PV_SEND_IPI,
// POLL_CONTROL, PV_SCHED_YIELD, MSI_EXT_DEST_ID (TDX_SUPPORTED_KVM_FEATURES of QEMU's target/i386/kvm/tdx.c).
const KVM_FEATURES_FOR_TDS = [1, 7, 9, 11, 12, 13, 15].reduce((mask, bit) => mask | (1 << bit), 0);

const X2APIC = 1 << 21;
const flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

/** The TD's leaf 0x1F: as configured, or `vcpus` cores where it is left to the host (all zeros). */
function topologyOf(td: ResolvedTd): CpuidEntry[] {
  const given = TOPOLOGY_SUBLEAVES.flatMap((subleaf) => entryAt(td.cpuid, 0x1f, subleaf) ?? []);
  if (given.some(({ ecx }) => levelType(ecx) !== LEVEL.NONE)) return given;
  return [0, 1, 2].map((index) => ({ function: 0x1f, index, flags, ...topologyLevel(td.vcpus, index) }));
}

/** Puts `values` at (leaf, sub-leaf), in place of what is there. */
function put(entries: CpuidEntry[], leaf: number, index: number, flags: number, values: RegisterValues): void {
  const { eax, ebx, ecx, edx } = values;
  const entry = { function: leaf, index, flags, eax, ebx, ecx, edx };
  const at = entries.findIndex((old) => old.function === leaf && old.index === index);
  if (at < 0) entries.push(entry);
  else entries[at] = entry;
}

const NONE: RegisterValues = { eax: 0, ebx: 0, ecx: 0, edx: 0 };
const valuesAt = (entries: readonly CpuidEntry[], leaf: number, index = 0): RegisterValues =>
  entryAt(entries, leaf, index) ?? NONE;

/** The configured bits over what KVM supports; a zero that asks for the platform's value leaves it. */
function overlayConfig(entries: CpuidEntry[], td: ResolvedTd, host: TdHostFacts): void {
  for (const row of td.cpuid) {
    const mask = entryAt(host.capabilities.cpuid, row.function, row.index);
    if (mask === undefined || row.function === 0x1f) continue;
    const old = entryAt(entries, row.function, row.index);
    const values = Object.fromEntries(
      CPUID_REGISTERS.map((register) => [register, withBits(old?.[register] ?? 0, mask[register], row[register])]),
    ) as unknown as Record<keyof RegisterValues, number>;
    if (row.function === 1 && row.eax === 0) values.eax = old?.eax ?? 0;
    if (row.function === 0x8000_0008 && fieldOf(row.eax, 7, 0) === 0) {
      values.eax = withBits(values.eax, 0xff, old?.eax ?? 0);
    }
    put(entries, row.function, row.index, old?.flags ?? 0, values);
  }
}

/**
 * The entries of KVM_SET_CPUID2 for the vCPU `id`: KVM answers the CPUID leaves with them that the TDX module leaves to the
 * host, and takes from them what it wants to know of the guest.
 * - x2APIC is set (KVM_TDX_INIT_VCPU refuses a vCPU without), and the APIC id is `id`;
 * - leaf 0x80000000 is there and 0x80000008 has the TD's GPAW in EAX[23:16]: another value kills the VM later;
 * - paravirtual features that need guest memory are cut.
 * @param tdCpuid what KVM_TDX_GET_CPUID of this TD said, to go by the values that the TD has; leaf 0xD stays KVM's, since AMX
 * in it needs a permission that this process may lack (ARCH_REQ_XCOMP_GUEST_PERM).
 */
export function vcpuCpuid(
  td: ResolvedTd,
  host: TdHostFacts,
  id: number,
  tdCpuid: readonly CpuidEntry[] = [],
): CpuidEntry[] {
  const entries = host.supportedCpuid.map((entry) => ({ ...entry }));
  overlayConfig(entries, td, host);
  for (const entry of tdCpuid) {
    if (entry.function !== 0xd) put(entries, entry.function, entry.index, entry.flags, entry);
  }

  const leaf1 = valuesAt(entries, 1);
  const ebx = withBits(leaf1.ebx, 0xff00_0000, (id & 0xff) * 2 ** 24);
  put(entries, 1, 0, 0, { ...leaf1, ebx, ecx: withBits(leaf1.ecx, X2APIC, X2APIC) });

  const levels = topologyOf(td);
  for (const level of levels) put(entries, 0x1f, level.index, flags, level);
  for (const [index, level] of leafBOf(levels).entries()) put(entries, 0xb, index, flags, level);
  for (const entry of entries) if (entry.function === 0xb || entry.function === 0x1f) entry.edx = id;

  const features = entryAt(entries, 0x4000_0001, 0);
  if (features) features.eax &= KVM_FEATURES_FOR_TDS;

  const highest = valuesAt(entries, 0x8000_0000);
  put(entries, 0x8000_0000, 0, 0, { ...highest, eax: Math.max(highest.eax, 0x8000_0008) });
  const sizes = valuesAt(entries, 0x8000_0008);
  // KVM takes a MAXPA below 32 for a processor whose APIC base is reserved.
  const maxpa = Math.max(fieldOf(sizes.eax, 7, 0), 36);
  put(entries, 0x8000_0008, 0, 0, { ...sizes, eax: withGpaw(withBits(sizes.eax, 0xff, maxpa), td.gpaw) });
  return entries;
}
