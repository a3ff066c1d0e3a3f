import { walkTo } from './gpa.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { eptViolationExit, walkViolationExit } from './guest-ept.js';
import { Diversion } from './guest-exit.js';
import { checkAligned, pageOperand } from './guest-operand.js';
import { Refusal, refuse } from './refusal.js';
import { spanOf } from './sept-leaves.js';
import { isLeafState, SEPT } from './sept-state.js';
import { EXTENDED_QUALIFICATION } from './vmx.js';

// Leaves for L2 VMs, as TDs without any find them. TDs with L2 VMs are not modelled beyond their configuration.

const GUEST_STATE_ALIGNMENT = 256;
const PENDING = 1n << 62n;

function checkWithoutL2({ td }: Guest): void {
  if (td.configuration!.numL2Vms > 0) throw refuse('module.tdcall.leaf', 'RAX');
}

/** TDG.VP.ENTER: no VM to enter. RCX: VM and flags, RDX: GPA of its state (tdg_vp_enter.c). */
export function tdgVpEnter(guest: Guest): undefined {
  checkWithoutL2(guest);
  const rdx = guest.cpu.gprs[GPR.RDX]!;
  const state = Number(rdx);
  checkAligned(rdx, GUEST_STATE_ALIGNMENT, 'RDX');
  if (guest.memory.isShared(state) || guest.memory.isBeyondWidth(state)) throw refuse('module.operand.gpa', 'RDX');
  throw refuse('module.l2.vm', 'RCX');
}

/** TDG.VP.INVEPT: nothing to flush. RCX: a mask of VMs (tdg_vp_invept.c). */
export function tdgVpInvept(guest: Guest): undefined {
  checkWithoutL2(guest);
  if (guest.cpu.gprs[GPR.RCX] !== 0n) throw refuse('module.l2.vm', 'RCX');
}

/** TDG.VP.INVVPID: no VM to name in RCX (tdg_vp_invvpid.c). */
export function tdgVpInvvpid(guest: Guest): undefined {
  checkWithoutL2(guest);
  throw refuse('module.l2.vm', 'RCX');
}

/**
 * TDG.MEM.PAGE.ATTR.RD: RCX: private GPA; RCX: where the page that maps it starts, its level, and bit 62, pending; RDX: attributes of
 * L2 VMs (tdg_mem_page_attr_rd.c).
 */
export function tdgMemPageAttrRd(guest: Guest): undefined {
  checkWithoutL2(guest);
  const { cpu, memory, td } = guest;
  const { gprs } = cpu;
  const gpa = Number(gprs[GPR.RCX]!);
  if (memory.isShared(gpa) || memory.isBeyondWidth(gpa)) throw cleared(guest, refuse('module.operand.gpa', 'RCX'));
  const { entry, level } = walkTo(td, gpa, 0);
  if (entry?.state !== SEPT.MAPPED && entry?.state !== SEPT.PENDING) throw new Diversion(eptViolationExit(gpa, 0n));
  const start = BigInt(gpa - (gpa % spanOf(level)));
  gprs[GPR.RCX] = start | BigInt(level) | (entry.state === SEPT.PENDING ? PENDING : 0n);
  gprs[GPR.RDX] = 0n;
}

const LEVEL_1G = 2;
const VMS = 4n;

/**
 * TDG.MEM.PAGE.ATTR.WR: RCX: level and private GPA, RDX and R8: 16 bits for each VM, of which none exists; RCX and RDX as above
 * (tdg_mem_page_attr_wr.c).
 */
export function tdgMemPageAttrWr(guest: Guest): undefined {
  checkWithoutL2(guest);
  const { gprs } = guest.cpu;
  try {
    writeAttributes(guest, gprs[GPR.RCX]!, gprs[GPR.RDX]!, gprs[GPR.R8]!);
  } catch (reason) {
    throw reason instanceof Refusal ? cleared(guest, reason) : reason;
  }
}

function writeAttributes(guest: Guest, rcx: bigint, attributes: bigint, flags: bigint): void {
  for (let vm = 0n; vm < VMS; vm++) {
    const of = (value: bigint): bigint => (value >> (16n * vm)) & 0xffffn;
    if (of(attributes) !== 0n) throw refuse('module.l2.attributes', 'RDX');
    if (of(flags) !== 0n) throw refuse('module.l2.attributes', 'R8');
  }
  const { gpa, level } = pageOperand(guest, rcx, LEVEL_1G);
  const walk = walkTo(guest.td, gpa, level);
  const state = walk.entry?.state ?? SEPT.FREE;
  const violation = () => new Diversion(walkViolationExit(walk, gpa, level, EXTENDED_QUALIFICATION.ATTR_WR));
  if (walk.level !== level) throw violation();
  if (state !== SEPT.FREE && !isLeafState(state)) throw refuse('module.accept.size', level);
  if (state !== SEPT.MAPPED && state !== SEPT.PENDING) throw violation();
  if (state === SEPT.PENDING) guest.cpu.gprs[GPR.RCX] = rcx | PENDING;
}

/** What a refusal leaves in RCX and RDX. */
function cleared({ cpu }: Guest, refusal: Refusal): Refusal {
  cpu.gprs[GPR.RCX] = 0n;
  cpu.gprs[GPR.RDX] = 0n;
  return refusal;
}
