import { advance } from './advance.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { Diversion, type GuestExit } from './guest-exit.js';
import { injectGp } from './guest-ve.js';
import { Refusal, refuse } from './refusal.js';
import { tdgMemPageAttrRd, tdgMemPageAttrWr, tdgVpEnter, tdgVpInvept, tdgVpInvvpid } from './tdg-l2.js';
import { tdgMemPageAccept } from './tdg-mem-page-accept.js';
import { tdgMrReport } from './tdg-mr-report.js';
import { tdgMrRtmrExtend } from './tdg-mr-rtmr-extend.js';
import { tdgMrVerifyreport } from './tdg-mr-verifyreport.js';
import { tdgVmRd, tdgVmWr, tdgVpRd, tdgVpWr } from './tdg-rd-wr.js';
import { tdgSysRd, tdgSysRdall } from './tdg-sys-rd.js';
import { tdgVpCpuidveSet } from './tdg-vp-cpuidve-set.js';
import { tdgVpInfo } from './tdg-vp-info.js';
import { tdgVpVeinfoGet } from './tdg-vp-veinfo-get.js';
import { tdgVpVmcall } from './tdg-vp-vmcall.js';

/** Leaf numbers of the guest-side interface functions (tdx_api_defs.h tdcall_leaf_opcode_t). */
export const TDG = {
  VP_VMCALL: 0,
  VP_INFO: 1,
  MR_RTMR_EXTEND: 2,
  VP_VEINFO_GET: 3,
  MR_REPORT: 4,
  VP_CPUIDVE_SET: 5,
  MEM_PAGE_ACCEPT: 6,
  VM_RD: 7,
  VM_WR: 8,
  VP_RD: 9,
  VP_WR: 10,
  SYS_RD: 11,
  SYS_RDALL: 12,
  MR_VERIFYREPORT: 22,
  MEM_PAGE_ATTR_RD: 23,
  MEM_PAGE_ATTR_WR: 24,
  VP_ENTER: 25,
  VP_INVEPT: 26,
  VP_INVVPID: 27,
} as const;

/** A leaf reads and writes the guest's registers, and throws a Refusal or a Diversion; a value is a TD exit behind the instruction. */
export type TdgLeaf = (guest: Guest, version: number) => GuestExit | undefined;

const LEAVES: Readonly<Record<number, TdgLeaf>> = {
  [TDG.VP_VMCALL]: tdgVpVmcall,
  [TDG.VP_INFO]: tdgVpInfo,
  [TDG.MR_RTMR_EXTEND]: tdgMrRtmrExtend,
  [TDG.VP_VEINFO_GET]: tdgVpVeinfoGet,
  [TDG.MR_REPORT]: tdgMrReport,
  [TDG.VP_CPUIDVE_SET]: tdgVpCpuidveSet,
  [TDG.MEM_PAGE_ACCEPT]: tdgMemPageAccept,
  [TDG.VM_RD]: tdgVmRd,
  [TDG.VM_WR]: tdgVmWr,
  [TDG.VP_RD]: tdgVpRd,
  [TDG.VP_WR]: tdgVpWr,
  [TDG.SYS_RD]: tdgSysRd,
  [TDG.SYS_RDALL]: tdgSysRdall,
  [TDG.MR_VERIFYREPORT]: tdgMrVerifyreport,
  [TDG.MEM_PAGE_ATTR_RD]: tdgMemPageAttrRd,
  [TDG.MEM_PAGE_ATTR_WR]: tdgMemPageAttrWr,
  [TDG.VP_ENTER]: tdgVpEnter,
  [TDG.VP_INVEPT]: tdgVpInvept,
  [TDG.VP_INVVPID]: tdgVpInvvpid,
};

/** TDCALL (tdx_td_dispatcher.c td_call), `length` bytes long: a TD exit, or undefined where the guest goes on. */
export function tdcall(guest: Guest, length: number): GuestExit | undefined {
  const { cpu, vcpu, trace } = guest;
  if (cpu.mode.cpl > 0) return injectGp(guest, 'module.tdcall.cpl');
  if (!cpu.mode.longMode) return injectGp(guest, 'module.tdcall.long-mode');
  const { rip } = cpu;
  const before = trace && cpu.gprs.slice();
  const rax = cpu.gprs[GPR.RAX]!;
  const leaf = Number(rax & 0xffffn);
  const report = (more: { after?: BigUint64Array; rule?: string }): void => {
    if (before) trace?.({ kind: 'tdcall', leaf, before, vcpu: vcpu.index, rip, ...more });
  };
  try {
    const exit = perform(guest, rax);
    if (!exit) cpu.gprs[GPR.RAX] = 0n;
    advance(guest, length);
    report(exit ? {} : { after: cpu.gprs.slice() });
    return exit;
  } catch (reason) {
    if (reason instanceof Diversion) {
      report({});
      return reason.exit;
    }
    if (!(reason instanceof Refusal)) throw reason;
    cpu.gprs[GPR.RAX] = reason.status;
    advance(guest, length);
    report({ after: cpu.gprs.slice(), rule: reason.rule });
    return undefined;
  }
}

function perform(guest: Guest, rax: bigint): GuestExit | undefined {
  if (rax >> 24n !== 0n) throw refuse('module.tdcall.leaf', 'RAX');
  const leaf = Number(rax & 0xffffn);
  const version = Number((rax >> 16n) & 0xffn);
  if (version > 0 && !hasVersions(guest, leaf)) throw refuse('module.tdcall.version', 'RAX');
  const run = LEAVES[leaf];
  if (!run) throw refuse('module.tdcall.leaf', 'RAX');
  return run(guest, version);
}

/** Leaves that check their version themselves. */
const hasVersions = ({ state }: Guest, leaf: number): boolean =>
  leaf === TDG.VM_RD || (leaf === TDG.VP_VEINFO_GET && state.facts.features.veReduction);
