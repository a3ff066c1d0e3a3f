import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import { MAX_CPUID_ENTRIES } from './cpuid2.js';
import { demand } from './refusal.js';
import type { Td } from './td.js';
import type { TdVcpu } from './td-vcpu.js';
import { withGuestPhysBits } from './tdx-host.js';
import type { TdxCmd, TdxCmdData } from './user.js';

/** TD_MD_FIELD_ID_CPUID_VALUES: class 20 of the TD's metadata, 64 bits per element, two elements per field. */
const CPUID_VALUES = 0x9410_0003_0000_0000n;
const SUBLEAF_NA = 0x1fen;

/** KVM_TDX_GET_CPUID (tdx_vcpu_get_cpuid): the TD's CPUID as the module shows it to the host. flags are not looked at. */
export function tdxVcpuGetCpuid(vcpu: TdVcpu, cmd: TdxCmd, data: TdxCmdData): void {
  const user = data.cpuid2(cmd.data);
  const nent = user.readNent();
  const entries: CpuidEntry[] = [];
  readRange(vcpu.td, 0, entries);
  readRange(vcpu.td, 0x8000_0000, entries);
  user.writeNent(entries.length);
  demand(nent >= entries.length, 'kvm.get-cpuid.nent');
  user.writeEntries(entries);
}

/** Leaf `first`, whose EAX says which one is the last, and those up to it. */
function readRange(td: Td, first: number, entries: CpuidEntry[]): void {
  demand(readLeaf(td, first, entries), 'kvm.get-cpuid.module');
  const last = entries.at(-1)!.eax;
  for (let leaf = first + 1; leaf <= last; leaf++) {
    // KVM walks them all, but of those that a field id cannot name it asks nothing.
    if ((leaf & 0x7fff_ff80) !== 0) break;
    readLeaf(td, leaf, entries);
  }
}

/** tdx_vcpu_get_cpuid_leaf(): first without a sub-leaf, then sub-leaves until one is missing. */
function readLeaf(td: Td, leaf: number, entries: CpuidEntry[]): boolean {
  if (readCpuid(td, leaf, undefined, entries)) return true;
  for (let subleaf = 0; ; subleaf++) if (!readCpuid(td, leaf, subleaf, entries)) return subleaf > 0;
}

/** tdx_read_cpuid(): two TDH.MNG.RD, EBX:EAX and EDX:ECX. */
function readCpuid(td: Td, leaf: number, subleaf: number | undefined, entries: CpuidEntry[]): boolean {
  if ((subleaf ?? 0) > 0x7f || entries.length >= MAX_CPUID_ENTRIES) return false;
  const field =
    CPUID_VALUES |
    (leaf >= 0x8000_0000 ? 1n << 16n : 0n) |
    (BigInt(leaf & 0x7f) << 9n) |
    (subleaf === undefined ? SUBLEAF_NA : BigInt(subleaf) << 1n);
  const low = td.seamcalls.mngRd(td.tdr, field);
  if (low.status !== 0n) return false;
  const high = td.seamcalls.mngRd(td.tdr, field + 1n);
  if (high.status !== 0n) return false;
  const entry: CpuidEntry = {
    function: leaf,
    index: subleaf ?? 0,
    flags: subleaf === undefined ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
    eax: Number(low.r8 & 0xffff_ffffn),
    ebx: Number((low.r8 >> 32n) & 0xffff_ffffn),
    ecx: Number(high.r8 & 0xffff_ffffn),
    edx: Number((high.r8 >> 32n) & 0xffff_ffffn),
  };
  // KVM shows the GPAW where it takes it in KVM_TDX_INIT_VM.
  if (leaf === 0x8000_0008) entry.eax = withGuestPhysBits(entry.eax, td.sharedBit === 1n << 51n ? 52 : 48);
  entries.push(entry);
  return true;
}
