import type { GuestRuleId } from './guest-call.js';
import type { Guest } from './guest-context.js';
import { RFLAGS_RF, VECTOR } from './vmx.js';

/** TDVPS.VE_INFO: what TDG.VP.VEINFO.GET gives. */
export interface VeInfo {
  exitReason: number;
  qualification: bigint;
  gla: bigint;
  gpa: bigint;
  instructionLength: number;
  instructionInformation: number;
  /** Why it is a #VE, for modules that say so (helpers.h ve_category_e). */
  category: number;
}

const CATEGORY = {
  ARCH: 0,
  PENDING: 1,
  RESERVED_GPA_BITS: 2,
  CONFIG_PARAVIRT: 0x10,
  NON_CONFIG_PARAVIRT: 0x11,
} as const;

const categoryOf = (rule: GuestRuleId): number => {
  if (rule === 'module.ept.pending-ve') return CATEGORY.PENDING;
  if (rule === 'module.ept.shared-ve') return CATEGORY.ARCH;
  if (rule === 'module.ept.gpa-width') return CATEGORY.RESERVED_GPA_BITS;
  return rule === 'module.instruction.ve' ? CATEGORY.NON_CONFIG_PARAVIRT : CATEGORY.CONFIG_PARAVIRT;
};

/** Of a #VE that an instruction causes; addresses are those of an EPT violation. */
export type VeCause = Pick<VeInfo, 'exitReason' | 'instructionLength'> & Partial<VeInfo>;

/** The next instruction is the handler of an exception that the module injects; RIP stays, and RF is set as the module does. */
export function injectException(
  guest: Guest,
  rule: GuestRuleId,
  vector: number,
  errorCode?: number,
  cr2?: bigint,
): undefined {
  const { cpu, vcpu, trace } = guest;
  trace?.({
    kind: 'exception',
    vector,
    rule,
    vcpu: vcpu.index,
    rip: cpu.rip,
    ...(errorCode !== undefined && { errorCode }),
  });
  cpu.rflags |= RFLAGS_RF;
  cpu.inject(vector, errorCode, cr2);
}

export const injectGp = (guest: Guest, rule: GuestRuleId): undefined => injectException(guest, rule, VECTOR.GP, 0);
export const injectUd = (guest: Guest, rule: GuestRuleId): undefined => injectException(guest, rule, VECTOR.UD);

/** #VE, or #DF while the information of the last one was not read (td_other_exits.c tdx_inject_ve). */
export function injectVe(guest: Guest, rule: GuestRuleId, cause: VeCause): undefined {
  const { cpu, vcpu, trace } = guest;
  if (vcpu.veInfo) {
    injectException(guest, 'module.ve.one-at-a-time', VECTOR.DF, 0);
    return;
  }
  vcpu.veInfo = {
    qualification: 0n,
    gla: 0n,
    gpa: 0n,
    instructionInformation: 0,
    category: categoryOf(rule),
    ...cause,
  };
  const { exitReason } = cause;
  trace?.({ kind: 'exception', vector: VECTOR.VE, exitReason, rule, vcpu: vcpu.index, rip: cpu.rip });
  cpu.rflags |= RFLAGS_RF;
  cpu.inject(VECTOR.VE);
}
