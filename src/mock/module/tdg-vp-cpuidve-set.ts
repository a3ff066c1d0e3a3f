import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { refuse } from './refusal.js';

const SUPERVISOR = 1n;
const USER = 2n;
const TD_CTLS_LOCK = 1n << 63n;

/** TDG.VP.CPUIDVE.SET: RCX: bit 0, every CPUID at privilege level 0 gives a #VE; bit 1, at the others (tdg_vp_cpuidve_set.c). */
export function tdgVpCpuidveSet({ cpu: { gprs }, vcpu: { cpuidVe }, td, state }: Guest): undefined {
  const control = gprs[GPR.RCX]!;
  if (control & ~(SUPERVISOR | USER)) throw refuse('module.cpuidve.reserved', 'RCX');
  const supervisor = control & SUPERVISOR ? 1 : 0;
  const user = control & USER ? 1 : 0;
  const locked = state.facts.features.veReduction && (td.tdCtls & TD_CTLS_LOCK) !== 0n;
  if (locked && (cpuidVe.supervisor !== supervisor || cpuidVe.user !== user))
    throw refuse('module.cpuidve.locked', 'RCX');
  Object.assign(cpuidVe, { supervisor, user });
}
