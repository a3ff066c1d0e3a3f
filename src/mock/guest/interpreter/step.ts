import type { GuestFault } from '../cpu/fault.js';
import type { PhysicalMemory } from '../cpu/physical-memory.js';
import type { CpuState } from '../cpu/state.js';
import type { GuestEvent } from '../engine.js';
import { executeOne, settled } from './execute.js';
import { Machine } from './machine.js';

/** What one step came to. An event leaves the state as it was, at the instruction. */
export type StepOutcome =
  /** The instruction was executed; a repeated string instruction may have elements left, RIP is still at it then. */
  | { kind: 'executed' }
  /** It raised an exception; the state is at the first instruction of the guest's handler. */
  | { kind: 'exception'; vector: number }
  | GuestEvent;

/**
 * Executes the one instruction at `state.ip` in software. For an engine whose processor could not.
 * @param memory by guest physical address. Nothing is kept of it between steps.
 * @throws Error where the decoder library cannot be loaded.
 */
export function stepOnce(state: CpuState, memory: PhysicalMemory): StepOutcome {
  const machine = new Machine(state, memory);
  try {
    executeOne(machine);
    return { kind: 'executed' };
  } catch (error) {
    const event = settled(machine, error);
    if (event !== undefined) return event;
    return { kind: 'exception', vector: (error as GuestFault).vector };
  }
}
