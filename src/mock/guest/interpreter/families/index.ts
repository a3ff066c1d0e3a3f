import { arithmetic } from './arithmetic.js';
import { bitOperations } from './bits.js';
import { branches } from './branches.js';
import { controlRegisters } from './control.js';
import { events } from './events.js';
import type { Family } from './family.js';
import { fpu } from './fpu.js';
import { moves } from './moves.js';
import { multiplication } from './multiply.js';
import { processor } from './processor.js';
import { shifts } from './shifts.js';
import { sse } from './sse.js';
import { stack } from './stack.js';
import { strings } from './strings.js';
import { x87 } from './x87.js';

/** Every instruction that the interpreter knows, by mnemonic. MOVSD and CMPSD are two instructions each. */
export const FAMILIES: ReadonlyMap<string, Family[string]> = new Map(
  [
    ...[arithmetic, bitOperations, branches, controlRegisters, events, fpu, moves, multiplication, processor],
    ...[shifts, sse, stack, strings, x87],
  ].flatMap((family) => Object.entries(family)),
);
