import { type GuestCall, type GuestException, guestException } from './guest-call.js';

/** XCR0 features of XFAM: x87, SSE, AVX, MPX, AVX-512, PKRU, AMX (XCR0_USER_BIT_MASK). */
const XCR0_FEATURES = 0x602ffn;

const X87 = 1n << 0n;
const SSE = 1n << 1n;
const AVX = 1n << 2n;
const AVX512 = 7n << 5n;
const AMX = 3n << 17n;

/** Whether bits of XCR0 that belong together are set together. */
function isConsistent(xcr0: bigint): boolean {
  const allOrNone = (bits: bigint): boolean => (xcr0 & bits) === 0n || (xcr0 & bits) === bits;
  return (
    (xcr0 & X87) !== 0n &&
    ((xcr0 & AVX) === 0n || (xcr0 & SSE) !== 0n) &&
    ((xcr0 & AVX512) === 0n || (xcr0 & AVX) !== 0n) &&
    allOrNone(AVX512) &&
    allOrNone(AMX)
  );
}

/** XSETBV by the guest (td_xsetbv.c): `value` of EDX:EAX goes into extended control register `index` of ECX. */
export function xsetbv({ vcpu }: GuestCall, index: number, value: bigint): GuestException | undefined {
  if (index !== 0) return guestException('module.xsetbv.index');
  const { xfam } = vcpu.td.configuration!;
  if (value & ~(xfam & XCR0_FEATURES)) return guestException('module.xsetbv.xfam');
  if (!isConsistent(value)) return guestException('module.xsetbv.combination');
  vcpu.xcr0 = value;
  return undefined;
}
