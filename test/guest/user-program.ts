import type { KvmSregs } from '../../src/kvm/index.js';
import {
  CpuState,
  type LivePage,
  livePage,
  type PhysicalMemory,
  takeKvmState,
} from '../../src/mock/guest/cpu/index.js';
import type { GuestEvent } from '../../src/mock/guest/engine.js';
import { execute } from '../../src/mock/guest/interpreter/execute.js';
import { Machine } from '../../src/mock/guest/interpreter/machine.js';
import { CODE, longModeMemory, MEMORY_SIZE, userRegs, userSregs } from './long-mode.js';

/** Memory as the interpreter has it: every page live. */
export class Flat implements PhysicalMemory {
  readonly bytes: Uint8Array = longModeMemory();
  readonly #pages: readonly LivePage[] = Array.from({ length: MEMORY_SIZE / 0x1000 }, (_, n) =>
    livePage(this.bytes.subarray(n * 0x1000, (n + 1) * 0x1000)),
  );

  page(gpa: number): LivePage | undefined {
    return this.#pages[Math.floor(gpa / 0x1000)];
  }

  read(gpa: number, length: number): Uint8Array | undefined {
    return gpa < MEMORY_SIZE ? this.bytes.slice(gpa, gpa + length) : undefined;
  }

  write(gpa: number, bytes: Uint8Array): boolean {
    if (gpa >= MEMORY_SIZE) return false;
    this.bytes.set(bytes, gpa);
    return true;
  }
}

/** What KVM would say before it is told anything; only what user programs do not set counts. */
const NO_SREGS = { cr8: 0n, apicBase: 0n, interruptBitmap: [0n, 0n, 0n, 0n] } as unknown as KvmSregs;

export interface Ran {
  state: CpuState;
  memory: Flat;
  event: GuestEvent | undefined;
}

/** Runs a program in the interpreter until it leaves: through a port, or what ends it. At CPL 3, or 0 where asked. */
export function runProgram(
  code: readonly number[],
  gprs: Readonly<Record<number, bigint>> = {},
  { kernel = false, flags = 0n, data = [] as readonly number[], at = 0xc000 } = {},
): Ran {
  const memory = new Flat();
  memory.bytes.set([...code, 0xe6, 0x70], CODE);
  memory.bytes.set(data, at);
  const state = new CpuState();
  const registers = Array.from({ length: 16 }, (_, n) => gprs[n] ?? (n === 4 ? 0xd800n : 0n));
  const sregs = userSregs(NO_SREGS);
  takeKvmState(state, userRegs(registers, flags), sregs);
  if (kernel) {
    state.cr4 |= 0x40; // MCE, as in a TD
    state.cs.set(8, 0, 0xffff_ffff, 0xa09b);
    state.ss.set(16, 0, 0xffff_ffff, 0xc093);
  }
  const event = execute(new Machine(state, memory), 100_000);
  return { state, memory, event };
}
