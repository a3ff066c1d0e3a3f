import type { GuestEngine, GuestEvent } from '../guest/engine.js';
import { letOthersRun, turnIsDue } from '../turn.js';
import type { Guest } from './guest-context.js';
import { enterState, leaveState } from './guest-debug.js';
import { eptViolation } from './guest-ept.js';
import { disablingExit, type GuestExit, interruptExit } from './guest-exit.js';
import { instruction, io } from './guest-instruction.js';
import { deliverInterrupts } from './guest-interrupts.js';
import { GuestTd } from './guest-td.js';
import type { ModuleState } from './module-state.js';
import type { EnterHost, VpEnterArgs } from './seamcall.js';
import { LAST_EXIT, type Vcpu } from './td.js';
import { tdcall } from './tdcall.js';
import { completeVmcall } from './tdg-vp-vmcall.js';
import { EXIT_REASON } from './vmx.js';

/** Runs an entered VCPU in `engine` until it leaves. `args` are the registers of TDH.VP.ENTER. */
export async function enterGuest(
  state: ModuleState,
  engine: GuestEngine,
  vcpu: Vcpu,
  args: VpEnterArgs,
  host: EnterHost,
  trace: Guest['trace'],
): Promise<GuestExit> {
  const { td } = vcpu;
  const { boot: module } = state;
  td.guest ??= new GuestTd(engine, state, td);
  const memory = td.guest;
  const leave = memory.inside(host);
  try {
    const guest: Guest = { module, vcpu, state, td, memory, cpu: memory.processor(vcpu), trace };
    return await run(guest, args, host);
  } finally {
    leave();
  }
}

async function run(guest: Guest, args: VpEnterArgs, host: EnterHost): Promise<GuestExit> {
  const { cpu, vcpu, trace } = guest;
  enterState(vcpu, cpu);
  if (vcpu.lastTdExit === LAST_EXIT.TDVMCALL) completeVmcall(cpu, args);
  let exit: GuestExit | undefined;
  while (!exit) {
    if (turnIsDue()) await letOthersRun();
    const { signal } = host;
    if (signal.aborted) {
      exit = interruptExit();
      break;
    }
    deliverInterrupts(guest, host);
    const event = await cpu.run(signal);
    const notified = event.kind === 'interrupted' && signal.aborted && !host.signal.aborted;
    if (!notified) exit = answer(guest, event);
  }
  leaveState(vcpu, cpu);
  trace?.({ kind: 'exit', exitReason: Number(exit.registers.status & 0xffffn), vcpu: vcpu.index, rip: cpu.rip });
  return exit;
}

/** What the module makes of an event: a TD exit, or undefined where the guest goes on. */
function answer(guest: Guest, event: GuestEvent): GuestExit | undefined {
  switch (event.kind) {
    case 'tdcall':
      return tdcall(guest, event.length);
    case 'ept-violation':
      return eptViolation(guest, event);
    case 'instruction':
      return instruction(guest, event.name, event.length);
    case 'io':
      return io(guest, event);
    case 'triple-fault':
      return disablingExit(EXIT_REASON.TRIPLE_FAULT);
    case 'interrupt-window':
      return undefined;
    case 'interrupted':
      return interruptExit();
    case 'stuck': {
      const { why, rip, bytes } = event;
      return disablingExit(EXIT_REASON.INVALID_GUEST_STATE, { stuck: { why, rip, bytes } });
    }
  }
}
