import { demand } from './refusal.js';

/** KVM_MSR_FILTER_READ, KVM_MSR_FILTER_WRITE: what a range is about, and what is asked. */
export const MSR_FILTER = { READ: 1, WRITE: 2 } as const;

const DEFAULT_DENY = 1;
/** Registers of the x2APIC cannot be filtered. */
const X2APIC = { first: 0x800, last: 0x8ff } as const;

/** `struct kvm_msr_filter_range`. */
export interface MsrFilterRange {
  flags: number;
  /** MSRs. */
  nmsrs: number;
  base: number;
  /** A bit for each MSR, set where it is allowed; user memory, read once the rest of the range was found right. */
  readonly bitmap: Uint8Array;
}

/** `struct kvm_msr_filter`. */
export interface MsrFilterArgument {
  flags: number;
  ranges: readonly MsrFilterRange[];
}

/** Bytes of the longest bitmap. */
const MAX_BITMAP = 0x600;

/** kvm_add_msr_filter(). */
function checkRange(range: MsrFilterRange): MsrFilterRange {
  const { flags, nmsrs, base } = range;
  demand(flags !== 0 && (flags & ~3) === 0 && bitmapBytes(nmsrs) <= MAX_BITMAP, 'kvm.msr-filter');
  return { flags, nmsrs, base, bitmap: range.bitmap };
}

/** Of a bitmap for so many MSRs: KVM reads whole longs. */
export const bitmapBytes = (nmsrs: number): number => Math.ceil(nmsrs / 64) * 8;

/** KVM_X86_SET_MSR_FILTER (x86.c kvm_vm_ioctl_set_msr_filter, kvm_msr_allowed). */
export class MsrFilter {
  readonly #ranges: readonly MsrFilterRange[];

  constructor(private readonly argument: MsrFilterArgument) {
    demand((argument.flags & ~DEFAULT_DENY) === 0, 'kvm.msr-filter');
    const ranges = argument.ranges.filter(({ nmsrs }) => nmsrs > 0);
    demand(ranges.length > 0 || argument.flags === 0, 'kvm.msr-filter');
    this.#ranges = ranges.map(checkRange);
  }

  /** The first range that has the MSR decides. @param access one of {@link MSR_FILTER}. */
  allows(index: number, access: number): boolean {
    if (index >= X2APIC.first && index <= X2APIC.last) return true;
    for (const { flags, base, nmsrs, bitmap } of this.#ranges) {
      const bit = index - base;
      if (bit < 0 || bit >= nmsrs || (flags & access) === 0) continue;
      return ((bitmap[bit >>> 3]! >>> (bit & 7)) & 1) === 1;
    }
    return this.argument.flags === 0;
  }
}
