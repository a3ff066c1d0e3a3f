import { type GuestCall, type GuestException, guestException } from './guest-call.js';

/** IA32_XSS features of XFAM: PT, PASID, CET, HDC, UINTR, LBR, HWP (XCR0_SUPERVISOR_BIT_MASK). */
const XSS_FEATURES = 0x1fd00n;

/** WRMSR of IA32_XSS by the guest (td_msr_access.c wrmsr_ia32_xss). */
export function wrmsrXss({ vcpu }: GuestCall, value: bigint): GuestException | undefined {
  const { xfam } = vcpu.td.configuration!;
  if (value & ~(xfam & XSS_FEATURES)) return guestException('module.wrmsr.xss');
  vcpu.xss = value;
  return undefined;
}
