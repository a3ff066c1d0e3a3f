import type { RamRange, TdImage, TdRegion } from '../image/index.js';
import {
  type GuestMemfd,
  type GuestMemory,
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

interface BackedBlock extends MemoryBlock {
  memory: GuestMemory;
  guestMemfd: GuestMemfd;
}

/** The memory of a TD: per block a slot with private pages of a guest_memfd and shared ones of this process. */
export class TdMemory {
  readonly #vm: KvmVm;
  readonly #blocks: readonly BackedBlock[];

  constructor(vm: KvmVm, blocks: readonly BackedBlock[]) {
    this.#vm = vm;
    this.#blocks = blocks;
  }

  /** The block that has an address, without its SHARED bit. */
  blockAt(gpa: bigint): MemoryBlock | undefined {
    return this.#blocks.find((block) => block.gpa <= gpa && gpa < end(block));
  }

  /** `0x0 to 0x1000000 (RAM at 0x0), ...`. */
  describe(): string {
    const text = ({ gpa, size, name }: MemoryBlock) =>
      `0x${gpa.toString(16)} to 0x${end({ gpa, size }).toString(16)} (${name})`;
    return this.#blocks.map(text).join(', ');
  }

  /**
   * Makes the memory of a range private or shared, and gives back the pages that it had before. All of it loses its
   * content. Where no memory is nothing changes, and KVM is not asked: it would keep an entry for each page of a range that a
   * guest may make as large as it likes.
   * @param gpa page-aligned. @param size bytes, page-aligned; any, also beyond the end of the address space.
   * @returns false if it is empty, or should become private and is not all memory
   * @throws KvmError where KVM_SET_MEMORY_ATTRIBUTES is refused
   */
  convert(gpa: bigint, size: bigint, toPrivate: boolean): boolean {
    const parts = this.#blocks.flatMap((block) => {
      const from = gpa > block.gpa ? gpa : block.gpa;
      const to = gpa + size < end(block) ? gpa + size : end(block);
      return from < to ? [{ block, offset: Number(from - block.gpa), length: Number(to - from) }] : [];
    });
    // A guest may say of any hole that it is shared: devices are there.
    const covered = BigInt(parts.reduce((sum, { length }) => sum + length, 0)) === size;
    if (size === 0n || (toPrivate && !covered)) return false;
    for (const { block, offset, length } of parts) {
      const attributes = toPrivate ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0n;
      this.#vm.setMemoryAttributes(block.gpa + BigInt(offset), BigInt(length), attributes);
      if (toPrivate) block.memory.discard(offset, length);
      else block.guestMemfd.punchHole(offset, length);
    }
    return true;
  }

  /** Bytes that the guest shares, within a block; undefined where there is no memory or none any more. */
  readShared(gpa: bigint, length: number): Uint8Array | undefined {
    const block = this.#backing(gpa, length);
    return block?.memory.read(Number(gpa - block.gpa), length);
  }

  /** False where there is no memory or none any more. */
  writeShared(gpa: bigint, bytes: Uint8Array): boolean {
    const block = this.#backing(gpa, bytes.length);
    block?.memory.write(Number(gpa - block.gpa), bytes);
    return block !== undefined;
  }

  #backing(gpa: bigint, length: number): BackedBlock | undefined {
    const within = this.#blocks.find((block) => block.gpa <= gpa && gpa + BigInt(length) <= end(block));
    return within?.memory.closed ? undefined : within;
  }
}

/** Gives a VM its memory. Whoever calls owns what is added to `owned`, also when this throws. */
export function attachMemory(
  system: KvmSystem,
  vm: KvmVm,
  blocks: readonly MemoryBlock[],
  owned: Disposable[],
): TdMemory {
  const backed = blocks.map((block, slot) => {
    const { gpa, size } = block;
    const memory = system.createMemory(size);
    owned.push(memory);
    const guestMemfd = vm.createGuestMemfd(size);
    owned.push(guestMemfd);
    vm.setUserMemoryRegion2({ slot, flags: KVM_MEM_GUEST_MEMFD, gpa, size, memory, guestMemfd });
    vm.setMemoryAttributes(gpa, BigInt(size), KVM_MEMORY_ATTRIBUTE_PRIVATE);
    return { ...block, memory, guestMemfd };
  });
  return new TdMemory(vm, backed);
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
