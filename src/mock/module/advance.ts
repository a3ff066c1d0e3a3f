import type { Guest } from './guest-context.js';

/** The guest goes on behind an instruction of `length` bytes. */
export function advance({ cpu }: Guest, length: number): undefined {
  cpu.rip = BigInt.asUintN(cpu.mode.longMode ? 64 : 32, cpu.rip + BigInt(length));
}
