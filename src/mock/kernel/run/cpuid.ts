import type { CpuidEntry } from '../../../kvm/cpuid.js';
import { findCpuidEntry } from '../cpuid2.js';
import type { Handled } from './handled.js';
import type { TdRun } from './td-run.js';

const BASIC = 0;
const HYPERVISOR = 0x4000_0000;
const EXTENDED = 0x8000_0000;
const CENTAUR = 0xc000_0000;
/** EBX of CPUID(0) of AMD and Hygon ("Auth", "Hygo", "AMDi"): they give zeros where Intel repeats the last basic leaf. */
const NO_REDIRECTION: readonly number[] = [0x6874_7541, 0x6f67_7948, 0x6944_4d41];

/** tdx_emulate_cpuid(): R12 EAX, R13 ECX; the values go to R12 to R15. What KVM_SET_CPUID2 gave answers. */
export function emulateCpuid({ regs, vcpu }: TdRun): Handled {
  const values = cpuidOf(vcpu.vcpu.cpuid, Number(regs.r12 & 0xffff_ffffn), Number(regs.r13 & 0xffff_ffffn));
  [regs.r12, regs.r13, regs.r14, regs.r15] = values.map(BigInt) as [bigint, bigint, bigint, bigint];
  return 'enter';
}

/** kvm_cpuid(), not exact: out of range leaves repeat the last basic one, as on Intel processors. */
export function cpuidOf(
  entries: readonly CpuidEntry[],
  leaf: number,
  index: number,
): readonly [number, number, number, number] {
  const redirected = outOfRangeLeaf(entries, leaf);
  const entry =
    findCpuidEntry(entries, leaf, index) ??
    (redirected === undefined ? undefined : findCpuidEntry(entries, redirected, index));
  if (entry) return [entry.eax, entry.ebx, entry.ecx, entry.edx];
  // Undefined sub-leaves of the topology leaves pass CL through and show the x2APIC id.
  const topology = redirected ?? leaf;
  const level = topology === 0xb || topology === 0x1f ? findCpuidEntry(entries, topology, 1) : undefined;
  return level ? [0, 0, index & 0xff, level.edx] : [0, 0, 0, 0];
}

/** get_out_of_range_cpuid_entry(): the last basic leaf, if `leaf` lies beyond its class. */
function outOfRangeLeaf(entries: readonly CpuidEntry[], leaf: number): number | undefined {
  const basic = findCpuidEntry(entries, BASIC, 'not-significant');
  if (!basic || NO_REDIRECTION.includes(basic.ebx)) return undefined;
  const first = findCpuidEntry(entries, classOf(leaf), 'not-significant');
  return first && leaf <= first.eax ? undefined : basic.eax;
}

function classOf(leaf: number): number {
  if (leaf >= HYPERVISOR && leaf <= 0x4fff_ffff) return (leaf & 0xffff_ff00) >>> 0;
  if (leaf >= CENTAUR) return CENTAUR;
  return leaf >= EXTENDED ? EXTENDED : BASIC;
}
