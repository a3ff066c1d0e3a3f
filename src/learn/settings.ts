import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import type { TdxInitVm } from '../kvm/vm.js';

/** All that a throw-away TD is made with. */
export interface Settings {
  attributes: bigint;
  xfam: bigint;
  gpaw: 48 | 52;
  /** Units of 25 MHz; 0: the host's, not set. */
  tsc: number;
  /** KVM_CAP_MAX_VCPUS; 0: not set. */
  maxVcpus: number;
  /** EAX to EDX of each configurable row, in the order of the capabilities, without the GPAW. */
  cpuid: Uint32Array;
}

/** A configurable leaf, as KVM_TDX_CAPABILITIES lists it. */
export interface Row {
  leaf: number;
  /** 0 also where the leaf has no sub-leaves: KVM does not say. */
  index: number;
}

export const GPAW_LEAF = 0x8000_0008;
export const GPAW_BITS = 0x00ff_0000;

/** Settings as one word of text: what experiments are told apart by. */
export function keyOf({ attributes, xfam, gpaw, tsc, maxVcpus, cpuid }: Settings): string {
  const registers: string[] = [];
  cpuid.forEach((value, i) => {
    if (value !== 0) registers.push(`${i}=${value.toString(16)}`);
  });
  return [attributes.toString(16), xfam.toString(16), gpaw, tsc, maxVcpus, registers.join(',')].join('/');
}

/** What KVM_TDX_INIT_VM is given. KVM takes the GPAW out of CPUID(0x80000008).EAX[23:16]. */
export function initVmOf({ attributes, xfam, gpaw, cpuid }: Settings, rows: readonly Row[]): TdxInitVm {
  const entries = rows.map(({ leaf, index }, i): CpuidEntry => {
    const [eax = 0, ebx = 0, ecx = 0, edx = 0] = cpuid.subarray(i * 4, i * 4 + 4);
    return { function: leaf, index, flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX, eax, ebx, ecx, edx };
  });
  let widths = entries.find((entry) => entry.function === GPAW_LEAF);
  if (!widths) {
    widths = { function: GPAW_LEAF, index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 };
    entries.push(widths);
  }
  widths.eax = ((widths.eax & ~GPAW_BITS) | (gpaw << 16)) >>> 0;
  return { attributes, xfam, cpuid: entries };
}
