/**
 * Memory of this process that a guest may share (the `userspace_addr` of a memory slot) and from which private pages
 * are copied (`source_addr` of KVM_TDX_INIT_MEM_REGION). Offsets are bytes from its start; addresses stay out of JavaScript.
 */
export interface GuestMemory extends Disposable {
  /** Bytes. */
  readonly size: number;
  readonly closed: boolean;
  /** Copies `length` bytes from `offset`. @throws RangeError outside the memory. */
  read(offset: number, length: number): Uint8Array;
  /** Copies `bytes` to `offset`. @throws RangeError outside the memory. */
  write(offset: number, bytes: Uint8Array): void;
  /** Gives the pages of a range back to the kernel; they read as zero afterwards. Page-aligned bytes. */
  discard(offset: number, length: number): void;
  close(): void;
}

/** A guest_memfd (KVM_CREATE_GUEST_MEMFD): private memory of a TD, which this process cannot read. */
export interface GuestMemfd extends Disposable {
  /** Bytes. */
  readonly size: number;
  readonly closed: boolean;
  /** fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE): frees the pages of a range. Page-aligned bytes. */
  punchHole(offset: number, length: number): void;
  close(): void;
}
