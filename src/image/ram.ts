import { FOUR_GIB } from './check-sections.js';

/** A range of guest physical memory, bytes. */
export interface RamRange {
  gpa: bigint;
  size: bigint;
}

// hw/i386/pc_q35.c pc_q35_init: with 0xb0000000 bytes or more the lower part ends at 2 GiB, so that the upper part starts at
// a multiple of 1 GiB in the host too; with less all of it is below the PCI hole.
/** Below 4 GiB, RAM of a q35 machine ends here or before; PCI and the firmware are above. */
export const Q35_LOW_LIMIT = 0xb000_0000n;
const LOW_SPLIT = 0x8000_0000n;

/**
 * Where QEMU's q35 machine places `size` bytes of RAM: from 0, and, from 0xb0000000 bytes on, what exceeds 2 GiB from
 * 4 GiB upwards. @throws RangeError unless `size` is a positive multiple of 4096.
 */
export function ramLayout(size: bigint | number): RamRange[] {
  const bytes = BigInt(size);
  if (bytes <= 0n || bytes % 4096n !== 0n) {
    throw new RangeError(`RAM of ${size} bytes: expected a positive multiple of 4096`);
  }
  if (bytes < Q35_LOW_LIMIT) return [{ gpa: 0n, size: bytes }];
  return [
    { gpa: 0n, size: LOW_SPLIT },
    { gpa: FOUR_GIB, size: bytes - LOW_SPLIT },
  ];
}
