// ioctl numbers (include/uapi/asm-generic/ioctl.h): direction 31:30, size 29:16, type 15:8, number 7:0.

/** The type of KVM's requests. */
export const KVMIO = 0xae;

const encode = (direction: number, nr: number, size: number): number =>
  ((direction << 30) | (size << 16) | (KVMIO << 8) | nr) >>> 0;

interface Sized {
  readonly size: number;
}

const sizeOf = (what: Sized | number): number => (typeof what === 'number' ? what : what.size);

export const io = (nr: number): number => encode(0, nr, 0);
/** User space writes, the kernel reads. */
export const iow = (nr: number, what: Sized | number): number => encode(1, nr, sizeOf(what));
/** The kernel writes. */
export const ior = (nr: number, what: Sized | number): number => encode(2, nr, sizeOf(what));
export const iowr = (nr: number, what: Sized | number): number => encode(3, nr, sizeOf(what));

export const ioctlType = (request: number): number => (request >>> 8) & 0xff;
export const ioctlNr = (request: number): number => request & 0xff;
