import { boolean, integer, list, rangeError, record, u32 } from './check.js';
import type { MsrFilter } from './vm.js';

const MAX_RANGES = 16;
/** KVM_MSR_FILTER_MAX_BITMAP_SIZE in MSRs. */
const MAX_MSRS = 0x600 * 8;
const READ = 1;
const WRITE = 2;
const DEFAULT_DENY = 1;

/** Bytes of a range's bitmap: KVM copies whole longs (x86.c kvm_add_msr_filter). */
export const msrBitmapBytes = (nmsrs: number): number => 8 * Math.ceil(nmsrs / 64);

/** The argument of setMsrFilter as flags, three numbers a range (flags, base, MSRs) and the bitmaps behind each other. */
export interface PackedMsrFilter {
  flags: number;
  ranges: Uint32Array;
  bitmaps: Uint8Array;
}

/** @throws TypeError, RangeError. */
export function packMsrFilter(filter: unknown): PackedMsrFilter {
  const given = record('filter', filter) as unknown as MsrFilter;
  const list_ = list('filter.ranges', given.ranges);
  if (list_.length > MAX_RANGES) throw rangeError('filter.ranges', `at most ${MAX_RANGES} ranges`, list_.length);
  const numbers: number[] = [];
  const bitmaps: Uint8Array[] = [];
  list_.forEach((value, i) => {
    const path = `filter.ranges[${i}]`;
    const { first, last, read, write, allow } = record(path, value);
    const from = u32(`${path}.first`, first);
    const count = u32(`${path}.last`, last) - from + 1;
    if (count < 1 || count > MAX_MSRS) throw rangeError(`${path}.last`, `first and at most ${MAX_MSRS} MSRs`, last);
    const flags = (boolean(`${path}.read`, read) ? READ : 0) | (boolean(`${path}.write`, write) ? WRITE : 0);
    numbers.push(integer(`${path}.read, write`, flags, 3), from, count);
    bitmaps.push(new Uint8Array(msrBitmapBytes(count)).fill(boolean(`${path}.allow`, allow) ? 0xff : 0));
  });
  return {
    flags: boolean('filter.denyOthers', given.denyOthers) ? DEFAULT_DENY : 0,
    ranges: Uint32Array.from(numbers),
    bitmaps: Uint8Array.from(bitmaps.flatMap((bitmap) => [...bitmap])),
  };
}
