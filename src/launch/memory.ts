import type { RamRange, TdImage, TdRegion } from '../image/index.js';
import {
  KVM_MEM_GUEST_MEMFD,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  type KvmSystem,
  type KvmVcpu,
  type KvmVm,
  PAGE_SIZE,
} from '../kvm/index.js';

/** A contiguous range of guest physical addresses behind one memory slot. */
export interface MemoryBlock {
  name: string;
  gpa: bigint;
  /** Bytes. */
  size: number;
}

const end = (range: { gpa: bigint; size: number }): bigint => range.gpa + BigInt(range.size);

const covers = (block: MemoryBlock, region: TdRegion): boolean => block.gpa <= region.gpa && end(region) <= end(block);

/**
 * The memory slots of a TD: its RAM, and a block for every stretch of image regions outside of it, such as the firmware
 * below 4 GiB.
 *
 * @throws RangeError if a region lies across the end of a RAM block.
 */
export function planMemory(ranges: readonly RamRange[], image: TdImage): MemoryBlock[] {
  const ram = ranges.map(({ gpa, size }) => ({ name: `RAM at 0x${gpa.toString(16)}`, gpa, size: Number(size) }));
  const blocks: MemoryBlock[] = [...ram];
  const outside = image.regions
    .filter((region) => !ram.some((block) => covers(block, region)))
    .sort((a, b) => (a.gpa < b.gpa ? -1 : a.gpa > b.gpa ? 1 : 0));
  for (const region of outside) {
    const across = ram.find((block) => region.gpa < end(block) && block.gpa < end(region));
    if (across) {
      const range = `0x${region.gpa.toString(16)} to 0x${end(region).toString(16)}`;
      throw new RangeError(
        `image region ${region.name} (${range}) lies across the end of ${across.name} (ends at 0x${end(across).toString(16)}); choose a memory size that holds it or ends before it`,
      );
    }
    const last = blocks.at(-1);
    if (last && blocks.length > ram.length && end(last) === region.gpa) last.size += region.size;
    else blocks.push({ name: region.name, gpa: region.gpa, size: region.size });
  }
  return blocks;
}

/** Gives a VM its memory: per block a slot with private pages of a guest_memfd and shared ones of this process. */
export function attachMemory(system: KvmSystem, vm: KvmVm, blocks: readonly MemoryBlock[]): Disposable[] {
  const owned: Disposable[] = [];
  for (const [slot, { gpa, size }] of blocks.entries()) {
    const memory = system.createMemory(size);
    owned.push(memory);
    const guestMemfd = vm.createGuestMemfd(size);
    owned.push(guestMemfd);
    vm.setUserMemoryRegion2({ slot, flags: KVM_MEM_GUEST_MEMFD, gpa, size, memory, guestMemfd });
    vm.setMemoryAttributes(gpa, BigInt(size), KVM_MEMORY_ATTRIBUTE_PRIVATE);
  }
  return owned;
}

/** Pages copied per system call, so that progress shows and an abort is heard. */
const PAGES_PER_CALL = 256;

/** Copies a region into the TD, piece by piece. Yields the pages of each piece. */
export function* addRegion(system: KvmSystem, vcpu: KvmVcpu, region: TdRegion): Generator<number> {
  const total = region.size / PAGE_SIZE;
  using staging = system.createMemory(Math.min(total, PAGES_PER_CALL) * PAGE_SIZE);
  for (let page = 0; page < total; page += PAGES_PER_CALL) {
    const nrPages = Math.min(PAGES_PER_CALL, total - page);
    const offset = page * PAGE_SIZE;
    const piece = new Uint8Array(nrPages * PAGE_SIZE);
    piece.set(region.data.subarray(offset, offset + piece.length));
    staging.write(0, piece);
    vcpu.tdx.initMemRegion({
      source: staging,
      sourceOffset: 0,
      gpa: region.gpa + BigInt(offset),
      nrPages,
      measure: region.measure,
    });
    yield nrPages;
  }
}
