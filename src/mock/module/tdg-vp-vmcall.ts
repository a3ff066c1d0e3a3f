import type { EngineVcpu } from '../guest/engine.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import type { GuestExit } from './guest-exit.js';
import { refuse } from './refusal.js';
import type { VpEnterArgs, VpEnterResult } from './seamcall.js';
import { LAST_EXIT, VCPU_STATE } from './td.js';
import { EXIT_REASON } from './vmx.js';

/** Registers that a guest may share with its host, in the order of their bits in RCX. */
const SHAREABLE = ['rdx', 'rbx', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const;
const BIT = {
  rdx: 2,
  rbx: 3,
  rbp: 5,
  rsi: 6,
  rdi: 7,
  r8: 8,
  r9: 9,
  r10: 10,
  r11: 11,
  r12: 12,
  r13: 13,
  r14: 14,
  r15: 15,
};

/** RAX, RCX and RSP are never shared; bits 31:16 select XMM registers, which this model leaves alone. */
const NEVER = 0xffff_ffff_0000_0013n;
const RBP = 1n << 5n;
const CONFIG_FLAGS_NO_RBP_MOD = 1n << 2n;

const selected = (mask: bigint, register: keyof typeof BIT): boolean => ((Number(mask) >>> BIT[register]) & 1) === 1;

/** TDG.VP.VMCALL: leaves the TD with the registers that RCX selects; the others are 0 for the host (tdg_vp_vmcall.c). */
export function tdgVpVmcall({ cpu, td }: Guest): GuestExit {
  const mask = cpu.gprs[GPR.RCX]!;
  const keepsRbp = (td.configuration!.configFlags & CONFIG_FLAGS_NO_RBP_MOD) !== 0n;
  if (mask & (NEVER | (keepsRbp ? RBP : 0n))) throw refuse('module.vmcall.mask', 'RCX');
  const shared = (name: keyof typeof BIT): bigint => (selected(mask, name) ? cpu.gprs[BIT[name]]! : 0n);
  const registers: VpEnterResult = {
    status: BigInt(EXIT_REASON.TDCALL),
    rcx: mask,
    rdx: shared('rdx'),
    rbx: shared('rbx'),
    rsi: shared('rsi'),
    rdi: shared('rdi'),
    r8: shared('r8'),
    r9: shared('r9'),
    r10: shared('r10'),
    r11: shared('r11'),
    r12: shared('r12'),
    r13: shared('r13'),
    r14: shared('r14'),
    r15: shared('r15'),
  };
  if (!keepsRbp) registers.rbp = shared('rbp');
  return { registers, vcpuState: VCPU_STATE.READY, lastTdExit: LAST_EXIT.TDVMCALL };
}

/** The next entry: the host's values in the registers that RCX selected, TDX_SUCCESS in RAX (tdh_vp_enter.c save_regs_after_tdvmcall). */
export function completeVmcall(cpu: EngineVcpu, args: VpEnterArgs): void {
  const mask = cpu.gprs[GPR.RCX]!;
  for (const name of SHAREABLE) if (selected(mask, name)) cpu.gprs[BIT[name]] = args[name] ?? 0n;
  cpu.gprs[GPR.RAX] = 0n;
}
