import { demand, Refusal } from '../mock/kernel/refusal.js';
import type { GuestMemfdObject, WireObject } from './objects.js';
import type { CallMessage } from './protocol.js';

const KEEP_SIZE = 1n;
const PUNCH_HOLE = 2n;
const PAGE = 4096n;

const signed = (value: bigint): bigint => BigInt.asIntN(64, value);

/** fallocate() of a descriptor (fs/open.c vfs_fallocate, guest_memfd.c kvm_gmem_fallocate). @throws Refusal. */
export function fallocate(object: WireObject, [mode, offset, length]: CallMessage['operands']): void {
  const [from, size] = [signed(offset), signed(length)];
  demand(from >= 0n && size > 0n, 'kvm.guest-memfd.punch');
  demand((mode & ~(KEEP_SIZE | PUNCH_HOLE)) === 0n && (mode & KEEP_SIZE) !== 0n, 'kvm.fallocate.mode');
  if (object.kind !== 'guest-memfd') throw new Refusal('kvm.request.operation');
  if ((mode & PUNCH_HOLE) !== 0n) object.kernel.punchHole(from, size);
  else allocate(object, from, size);
}

/** kvm_gmem_allocate(): the pages come now, not when they are needed. */
function allocate({ kernel }: GuestMemfdObject, offset: bigint, length: bigint): void {
  demand(offset % PAGE === 0n && length % PAGE === 0n, 'kvm.guest-memfd.punch');
  demand(offset + length <= kernel.size, 'kvm.guest-memfd.allocate');
  for (let page = offset / PAGE; page < (offset + length) / PAGE; page++) kernel.folio(Number(page));
}

/** mmap() of a descriptor: only vCPUs have pages to show (kvm_main.c kvm_vcpu_mmap). @throws Refusal. */
export function mmap(object: WireObject): void {
  if (object.kind !== 'vcpu') throw new Refusal('kvm.request.operation');
}
