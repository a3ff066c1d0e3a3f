// What an engine needs that gets past one instruction in software: registers from KVM and back, memory by two functions.
import { describe, expect, it } from 'vitest';
import { kvmRegsOf, kvmSregsOf, type PhysicalMemory, stateOfKvm } from '../../src/mock/guest/cpu/index.js';
import { stepOnce } from '../../src/mock/guest/interpreter/index.js';
import { CODE, longModeMemory, userRegs, userSregs } from './long-mode.js';

const BEFORE = { cr8: 0n, apicBase: 0xfee0_0900n, interruptBitmap: [0n, 0n, 0n, 0n] } as never;

function prepared(code: readonly number[], more: { fpu?: Uint8Array } = {}) {
  const bytes = longModeMemory();
  bytes.set(code, CODE);
  const memory: PhysicalMemory = {
    read: (gpa, length) => (gpa < bytes.length ? bytes.slice(gpa, gpa + length) : undefined),
    write: (gpa, part) => {
      if (gpa >= bytes.length) return false;
      bytes.set(part, gpa);
      return true;
    },
  };
  const gprs = Array.from({ length: 16 }, (_, n) => (n === 4 ? 0xd800n : BigInt(n)));
  const regs = userRegs(gprs, 0n);
  const sregs = userSregs(BEFORE);
  return { bytes, memory, regs, sregs, state: stateOfKvm(regs, sregs, more) };
}

describe('stepOnce()', () => {
  it('registers come back to KVM as they were taken', () => {
    const { state, regs, sregs } = prepared([]);
    expect(kvmRegsOf(state)).toEqual(regs);
    expect(kvmSregsOf(state, BEFORE)).toEqual(sregs);
  });

  it('executes one instruction: FWAIT, then FNINIT, which changes the FXSAVE image', () => {
    const { state, memory } = prepared([0x9b, 0xdb, 0xe3], { fpu: new Uint8Array(4096) });
    expect(stepOnce(state, memory)).toEqual({ kind: 'executed' });
    expect([state.rip, state.fxView.getUint16(0, true)]).toEqual([BigInt(CODE + 1), 0]);
    expect(stepOnce(state, memory)).toEqual({ kind: 'executed' });
    expect([state.rip, state.fxView.getUint16(0, true)]).toEqual([BigInt(CODE + 3), 0x37f]);
  });

  it('an exception is delivered: the state is at the handler, with the frame on its stack', () => {
    const { state, memory, bytes } = prepared([0x0f, 0x0b]);
    expect(stepOnce(state, memory)).toEqual({ kind: 'exception', vector: 6 });
    expect([state.rip, state.cpl, state.gprs[4]]).toEqual([0x6060n, 0, 0x8fd8n]);
    expect(new DataView(bytes.buffer).getBigUint64(0x8fd8, true)).toBe(BigInt(CODE));
  });

  it('an instruction that is not the processor’s to answer is an event, and memory that does not answer too', () => {
    const { state, memory } = prepared([0x0f, 0xa2]);
    expect(stepOnce(state, memory)).toEqual({ kind: 'instruction', name: 'cpuid', length: 2 });
    expect(state.rip).toBe(BigInt(CODE));
    const absent: PhysicalMemory = { ...memory, read: (gpa, n) => (gpa === CODE ? undefined : memory.read(gpa, n)) };
    expect(stepOnce(state, absent)).toEqual({
      kind: 'ept-violation',
      gpa: CODE,
      gla: BigInt(CODE),
      access: 'execute',
      length: 0,
    });
  });

  it('a repeated string instruction may take several steps', () => {
    const { state, memory } = prepared([0xf3, 0xaa]); // rep stosb
    state.gprs[1] = 100n;
    state.gprs[7] = 0xc000n;
    let steps = 0;
    do steps += stepOnce(state, memory).kind === 'executed' ? 1 : 100;
    while (state.rip === BigInt(CODE) && steps < 100);
    expect([steps, state.gprs[1], state.gprs[7], state.rip]).toEqual([2, 0n, 0xc064n, BigInt(CODE + 2)]);
  });
});
