import type { Access, GuestEvent } from '../guest/engine.js';
import type { Guest } from './guest-context.js';
import { asyncExit, disablingExit, type GuestExit } from './guest-exit.js';
import { injectException, injectVe } from './guest-ve.js';
import { PAGE_4K } from './pamt.js';
import { architecturalEntry, type SeptWalk } from './sept.js';
import { isLeafState, SEPT } from './sept-state.js';
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

/** The same, with the level that a TDCALL asked for and where the walk ended (td_other_exits.c async_tdexit_ept_violation). */
export function walkViolationExit({ entry, level }: SeptWalk, gpa: number, requested: number, type: bigint): GuestExit {
  const state = entry?.state ?? SEPT.FREE;
  const info = requested | (level << 3) | (state << 6) | (isLeafState(state) ? 1 << 14 : 0);
  const permissions = (architecturalEntry(entry) & 7n) << 3n;
  return eptViolationExit(gpa, EPT_QUALIFICATION.WRITE | permissions, type | (BigInt(info) << 32n));
}

/**
 * An access to memory that is not mapped (td_ept_violation.c): #PF, #VE or a TD exit. Undefined: the guest goes on, with an
 * exception or, where the page has been mapped meanwhile, with the same instruction.
 */
export function eptViolation(guest: Guest, event: EptViolation): GuestExit | undefined {
  const { gpa, gla, access, length, delivering } = event;
  const { td, vcpu, cpu, memory } = guest;
  const realMode = (cpu.mode.cr0 & CR0_PE) === 0n;
  const qualification = ACCESS_BIT[access] | EPT_QUALIFICATION.GLA_VALID | EPT_QUALIFICATION.FINAL;
  const ve = (rule: 'module.ept.pending-ve' | 'module.ept.shared-ve' | 'module.ept.gpa-width') =>
    injectVe(guest, rule, {
      exitReason: EXIT_REASON.EPT_VIOLATION,
      qualification,
      gla,
      gpa: BigInt(gpa),
      instructionLength: length,
    });

  if (memory.isBeyondWidth(gpa)) {
    if (!reportsReservedBits(guest)) return injectPf(guest, event);
    ve('module.ept.gpa-width');
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

const CONFIG_FLAGS_MAXGPA_VIRT = 1n << 4n;

/** With CONFIG_FLAGS.MAXGPA_VIRT, which came with the reduction of #VEs, the #PF is a #VE. */
const reportsReservedBits = ({ td, state }: Guest): boolean =>
  state.facts.features.veReduction && (td.configuration!.configFlags & CONFIG_FLAGS_MAXGPA_VIRT) !== 0n;

/** #PF, or what a processor makes of it while it delivers another exception (helpers.c inject_pf). */
function injectPf(guest: Guest, { access, gla, delivering }: EptViolation): GuestExit | undefined {
  if (delivering?.vector === VECTOR.DF) return disablingExit(EXIT_REASON.TRIPLE_FAULT);
  if (delivering?.vector === VECTOR.PF || delivering?.vector === VECTOR.VE) {
    injectException(guest, 'module.ept.gpa-width', VECTOR.DF, 0, gla);
    return undefined;
  }
  const user = guest.cpu.mode.cpl === 3 ? PFEC.U : 0;
  const kind = access === 'write' ? PFEC.W : access === 'execute' ? PFEC.ID : 0;
  injectException(guest, 'module.ept.gpa-width', VECTOR.PF, PFEC.P | PFEC.RSVD | user | kind, gla);
  return undefined;
}
