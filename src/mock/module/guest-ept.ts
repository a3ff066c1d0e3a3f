import type { Access, GuestEvent } from '../guest/engine.js';
import type { Guest } from './guest-context.js';
import { asyncExit, type GuestExit } from './guest-exit.js';
import { injectException, injectVe } from './guest-ve.js';
import { PAGE_4K } from './pamt.js';
import type { Td } from './td.js';
import { EPT_QUALIFICATION, EXIT_REASON, EXTENDED_QUALIFICATION, VECTOR } from './vmx.js';

type EptViolation = Extract<GuestEvent, { kind: 'ept-violation' }>;

const ACCESS_BIT: Readonly<Record<Access, bigint>> = {
  read: EPT_QUALIFICATION.READ,
  write: EPT_QUALIFICATION.WRITE,
  execute: EPT_QUALIFICATION.EXECUTE,
};
/** Bits 12:7 are about linear addresses: not the host's business. */
const HOST_BITS = ~0x1f80n;
const CR0_PE = 1n;
const TD_CTLS_PENDING_VE_DISABLE = 1n;

/** Whether an access to a pending page is a TD exit instead of a #VE: ATTRIBUTES.SEPT_VE_DISABLE, or what the guest chose since. */
export const leavesOnPending = ({ tdCtls }: Td): boolean => (tdCtls & TD_CTLS_PENDING_VE_DISABLE) !== 0n;

/** Page fault error code: present, write, user, reserved bit, instruction fetch. */
const PFEC = { P: 1, W: 2, U: 4, RSVD: 8, ID: 16 } as const;

/** A TD exit for a private or shared address, cleaned of what a host must not know (tdx_ept_violation_exit_to_vmm). */
export const eptViolationExit = (
  gpa: number,
  qualification: bigint,
  extended: bigint = EXTENDED_QUALIFICATION.NONE,
): GuestExit =>
  asyncExit(EXIT_REASON.EPT_VIOLATION, {
    qualification: qualification & HOST_BITS,
    extended,
    gpa: BigInt(gpa - (gpa % PAGE_4K)),
  });

/**
 * An access to memory that is not mapped (td_ept_violation.c): #PF, #VE or a TD exit. Undefined: the guest goes on, with an
 * exception or, where the page has been mapped meanwhile, with the same instruction.
 */
export function eptViolation(guest: Guest, event: EptViolation): GuestExit | undefined {
  const { gpa, gla, access, length, delivering } = event;
  const { td, vcpu, cpu, memory } = guest;
  const realMode = (cpu.mode.cr0 & CR0_PE) === 0n;
  const qualification = ACCESS_BIT[access] | EPT_QUALIFICATION.GLA_VALID | EPT_QUALIFICATION.FINAL;
  const ve = (rule: 'module.ept.pending-ve' | 'module.ept.shared-ve') =>
    injectVe(guest, rule, {
      exitReason: EXIT_REASON.EPT_VIOLATION,
      qualification,
      gla,
      gpa: BigInt(gpa),
      instructionLength: length,
    });

  if (memory.isBeyondWidth(gpa)) {
    injectPf(guest, event);
    return undefined;
  }
  // What was on its way to the guest comes again at the next entry, unless another exception takes its place.
  if (delivering) cpu.inject(delivering.vector, delivering.errorCode);
  if (memory.isShared(gpa)) {
    // The processor itself delivers this #VE, but not while one waits or an event is being delivered.
    if (!memory.isMmio(gpa) || vcpu.veInfo || delivering || realMode) return eptViolationExit(gpa, qualification);
    ve('module.ept.shared-ve');
    return undefined;
  }
  const { state } = memory.privatePage(gpa);
  if (state === 'mapped') return undefined;
  if (state !== 'pending') return eptViolationExit(gpa, qualification);
  if (leavesOnPending(td)) return eptViolationExit(gpa, qualification, EXTENDED_QUALIFICATION.PENDING_EPT_VIOLATION);
  ve('module.ept.pending-ve');
  return undefined;
}

function injectPf(guest: Guest, { access, gla }: EptViolation): undefined {
  const user = guest.cpu.mode.cpl === 3 ? PFEC.U : 0;
  const kind = access === 'write' ? PFEC.W : access === 'execute' ? PFEC.ID : 0;
  injectException(guest, 'module.ept.gpa-width', VECTOR.PF, PFEC.P | PFEC.RSVD | user | kind, gla);
}
