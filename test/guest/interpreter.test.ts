import { expect, it } from 'vitest';
import { interpreterEngine } from '../../src/mock/guest/interpreter/index.js';
import { describeEngine } from './engine-contract.js';
import { FakeSpace } from './fake-space.js';

describeEngine('interpreter', interpreterEngine);

it('the interpreter does not execute what the host wrote into shared memory', async () => {
  const space = new FakeSpace();
  // Page tables whose first GiB is shared, and the way there: 32-bit code that turns paging on.
  const tables = new Uint8Array(0x2000);
  const view = new DataView(tables.buffer);
  view.setBigUint64(0, 0x2003n, true);
  view.setBigUint64(0x1000, (1n << 47n) | 0x83n, true);
  view.setBigUint64(0x1018, 0xc000_0083n, true);
  space.map(0x1000, tables);
  space.share(0x3000).fill(0xf4);
  const top = new Uint8Array(0x1000);
  top.set([
    ...[0x0f, 0x20, 0xe0, 0x83, 0xc8, 0x20, 0x0f, 0x22, 0xe0, 0xb8, 0, 0x10, 0, 0, 0x0f, 0x22, 0xd8], // PAE, CR3
    ...[0x0f, 0x20, 0xc0, 0x0d, 0, 0, 0, 0x80, 0x0f, 0x22, 0xc0, 0xb8, 0, 0x30, 0, 0, 0xff, 0xe0], // PG; jmp 0x3000
  ]);
  top.set([0xe9, 0x0b, 0xf0, 0xff, 0xff], 0xff0);
  space.map(0xffff_f000, top);
  const vcpu = interpreterEngine().openTd(space).createVcpu(0, new BigUint64Array(16));
  const event = await vcpu.run(AbortSignal.timeout(5000));
  expect(event).toMatchObject({ kind: 'stuck', rip: 0x3000n, why: expect.stringMatching(/code in shared memory/) });
});

it('the module may change EFER.SCE of a vCPU, and nothing else of EFER', () => {
  const vcpu = interpreterEngine().openTd(new FakeSpace()).createVcpu(0, new BigUint64Array(16));
  vcpu.mode.efer = 0n;
  expect(vcpu.mode.efer).toBe(0x900n);
});

/** A guest in 32-bit protected mode, which runs until it takes interrupts. */
async function toWindow(code: number[]): Promise<{ event: string; ran: number }> {
  const space = new FakeSpace();
  const top = new Uint8Array(0x1000);
  top.set(code, 0xff0);
  space.map(0xffff_f000, top);
  const vcpu = interpreterEngine().openTd(space).createVcpu(0, new BigUint64Array(16));
  vcpu.interruptWindow = true;
  const { kind } = await vcpu.run(AbortSignal.timeout(5000));
  return { event: kind, ran: Number(vcpu.rip - 0xffff_fff0n) };
}

it.each([
  ['one instruction after STI', [0xfb, 0x90, 0x90, 0xf4], { event: 'interrupt-window', ran: 2 }],
  ['in a loop of one instruction behind STI', [0xfb, 0xeb, 0xfe], { event: 'interrupt-window', ran: 1 }],
  ['at once where STI comes again', [0xfb, 0xfb, 0x90, 0xf4], { event: 'interrupt-window', ran: 2 }],
  ['not at all for STI; CLI', [0xfb, 0xfa, 0x90, 0xf4], { event: 'instruction', ran: 3 }],
])('the interpreter’s interrupt window opens %s', async (_, code, expected) => {
  expect(await toWindow(code)).toEqual(expected);
});
