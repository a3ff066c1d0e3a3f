import { gpaWidth } from './gpa.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';

const SYS_RD_AVAILABLE = 1n;

/**
 * TDG.VP.INFO (tdg_vp_info.c). RCX: GPA width, RDX: ATTRIBUTES, R8: NUM_VCPUS and MAX_VCPUS in its halves, R9: VCPU_INDEX,
 * R10: 1, TDG.SYS.RD exists.
 */
export function tdgVpInfo({ cpu: { gprs }, td, vcpu }: Guest): undefined {
  const { attributes, maxVcpus } = td.configuration!;
  gprs[GPR.RCX] = BigInt(gpaWidth(td));
  gprs[GPR.RDX] = attributes;
  gprs[GPR.R8] = (BigInt(maxVcpus) << 32n) | BigInt(td.numVcpus);
  gprs[GPR.R9] = BigInt(vcpu.index);
  gprs[GPR.R10] = SYS_RD_AVAILABLE;
  gprs[GPR.R11] = 0n;
}
