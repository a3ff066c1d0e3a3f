/** An engine that executes guests in TypeScript, on any machine. What it does not know ends the run as `stuck`. */
import type { EngineTd, GuestEngine, GuestSpace } from '../engine.js';
import { iced } from './iced.js';
import { InterpreterTd } from './td.js';

export { type StepOutcome, stepOnce } from './step.js';

/**
 * The interpreter. The decoder library is loaded when the first TD is opened.
 * @throws (openTd) Error where it cannot be loaded.
 */
export function interpreterEngine(): GuestEngine {
  const tds = new Set<InterpreterTd>();
  return {
    name: 'interpreter',
    description: 'x86-64 in TypeScript, TDCALL decoded like every other instruction',
    openTd(space: GuestSpace): EngineTd {
      iced();
      const td: InterpreterTd = new InterpreterTd(space, () => tds.delete(td));
      tds.add(td);
      return td;
    },
    close(): void {
      for (const td of tds) td.close();
      tds.clear();
    },
  };
}
