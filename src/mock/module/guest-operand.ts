import type { TdxOperandName } from '../../kvm/status.js';
import type { Guest } from './guest-context.js';
import { eptViolationExit, leavesOnPending } from './guest-ept.js';
import { Diversion } from './guest-exit.js';
import { injectVe } from './guest-ve.js';
import { PAGE_4K } from './pamt.js';
import { refuse } from './refusal.js';
import { spanOf } from './sept-leaves.js';
import { EPT_QUALIFICATION, EXIT_REASON, EXTENDED_QUALIFICATION } from './vmx.js';

/** Memory that a TDCALL names. It lies within one page. */
export interface Operand {
  read(length: number): Uint8Array;
  write(bytes: Uint8Array): void;
}

/**
 * Memory of the guest at `gpa`, which a leaf reads or writes (helpers.c check_walk_and_map_guest_side_gpa). Memory that is not
 * there ends the leaf: with a #VE or a TD exit, as if the guest had touched it at the TDCALL.
 */
export function operand(
  guest: Guest,
  gpa: bigint,
  name: TdxOperandName,
  { write = false, shared = false }: { write?: boolean; shared?: boolean } = {},
): Operand {
  const { memory, td } = guest;
  const address = Number(gpa);
  const isShared = memory.isShared(address);
  if ((isShared && !shared) || memory.isBeyondWidth(address)) throw refuse('module.operand.gpa', name);
  const qualification = EPT_QUALIFICATION.READ | (write ? EPT_QUALIFICATION.WRITE : 0n);

  if (isShared) {
    const bare = address - memory.sharedBit;
    const offset = bare % PAGE_4K;
    const present = memory.readShared(bare - offset, 1);
    if (!present && !memory.isMmio(address)) throw new Diversion(eptViolationExit(address, qualification));
    if (!present) throw diverted(guest, 'module.ept.shared-ve', address, qualification);
    return {
      read: (length) => memory.readShared(bare, length)!,
      write: (bytes) => void memory.writeShared(bare, bytes),
    };
  }
  const { state } = memory.privatePage(address);
  if (state === 'mapped')
    return {
      read: (length) => memory.readPrivate(address, length),
      write: (bytes) => memory.writePrivate(address, bytes),
    };
  if (state !== 'pending') throw new Diversion(eptViolationExit(address, qualification));
  if (leavesOnPending(td))
    throw new Diversion(eptViolationExit(address, qualification, EXTENDED_QUALIFICATION.PENDING_EPT_VIOLATION));
  throw diverted(guest, 'module.ept.pending-ve', address, qualification);
}

/** A #VE without a linear address. */
function diverted(
  guest: Guest,
  rule: 'module.ept.shared-ve' | 'module.ept.pending-ve',
  gpa: number,
  qualification: bigint,
): Diversion {
  injectVe(guest, rule, {
    exitReason: EXIT_REASON.EPT_VIOLATION,
    qualification,
    gpa: BigInt(gpa),
    instructionLength: TDCALL_LENGTH,
  });
  return new Diversion();
}

const TDCALL_LENGTH = 4;

/** Refuses an operand that is not aligned to `alignment` bytes, a power of two. */
export function checkAligned(gpa: bigint, alignment: number, name: TdxOperandName): void {
  if (gpa & BigInt(alignment - 1)) throw refuse('module.operand.alignment', name);
}

/** Level up to `maxLevel` in bits 2:0 and the private GPA that is aligned to it in 51:12 of RCX. */
export function pageOperand({ memory }: Guest, rcx: bigint, maxLevel: number): { gpa: number; level: number } {
  const level = Number(rcx & 7n);
  const gpa = Number(rcx - BigInt(level));
  if (rcx >> 52n !== 0n || level > maxLevel || gpa % spanOf(level) !== 0)
    throw refuse('module.accept.mapping-info', 'RCX');
  if (memory.isShared(gpa) || memory.isBeyondWidth(gpa)) throw refuse('module.operand.gpa', 'RCX');
  return { gpa, level };
}
