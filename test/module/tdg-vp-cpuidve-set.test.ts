import { describe, expect, it } from 'vitest';
import type { Step } from './fake-engine.js';
import { LEAVE, RunningTd, result, set, tdcall } from './guest-td.js';

const SET = 5;

/** CPUID(0) at a privilege level. */
const cpuid =
  (cpl: number): Step =>
  (cpu) => {
    cpu.mode.cpl = cpl;
    set(cpu, { rax: 0n, rcx: 0n });
    return { kind: 'instruction', name: 'cpuid', length: 2 };
  };

async function exceptions(...steps: Step[]): Promise<number[]> {
  const td = new RunningTd({}, [...steps, LEAVE]);
  await td.enter();
  return td.cpu.injected.map(({ vector }) => vector);
}

describe('TDG.VP.CPUIDVE.SET', () => {
  it.each([
    [0n, 0, []],
    [1n, 0, [20]],
    [1n, 3, []],
    [2n, 0, []],
    [2n, 3, [20]],
  ])('with %i: CPUID at privilege level %i gives exceptions %j', async (rcx, cpl, vectors) => {
    expect(await exceptions(tdcall(SET, { rcx }), cpuid(cpl))).toEqual(vectors);
  });

  it('refuses other bits', async () => {
    expect(await result({}, tdcall(SET, { rcx: 4n }))).toEqual({
      status: 'TDX_OPERAND_INVALID, operand RCX',
      rule: 'module.cpuidve.reserved',
    });
  });
});
