import { readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { KvmSystem } from '../../../src/kvm/index.js';
import { Console, runVcpus } from '../../../src/launch/index.js';
import { describeOnKernel, kernel } from '../../contract/backends.js';
import { addVcpu, HLT, protectedMode, realMode, SPIN } from '../../native/guest.js';

const word = (n: number): number[] => [n & 0xff, (n >> 8) & 0xff];
const outb = (port: number, value: number): number[] => [0xba, ...word(port), 0xb0, value, 0xee];
const print = (text: string): number[] => [...Buffer.from(text)].flatMap((byte) => outb(0x3f8, byte));
const exitWith = (code: number): number[] => outb(0xf4, code);
/** mov dx, 0x3f8; mov ecx, n; again: mov eax, ecx; out dx, eax; dec ecx; jnz again: 4 n bytes */
const flood = (n: number): number[] => {
  const count = Buffer.alloc(4);
  count.writeUInt32LE(n);
  return [0xba, 0xf8, 3, 0x66, 0xb9, ...count, 0x66, 0x89, 0xc8, 0x66, 0xef, 0x66, 0x49, 0x75, 0xf7];
};
const flooded = (n: number): Buffer => Buffer.from(Uint32Array.from({ length: n }, (_, i) => n - i).buffer);

async function read(console: Console): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of console.stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describeOnKernel('guests of the real KVM', () => {
  let system: KvmSystem;
  beforeEach(() => {
    system = kernel.open();
  });
  afterEach(() => system.close());

  it('print and exit', async () => {
    const { vcpu } = realMode(system, [...print('hello'), ...exitWith(5)]);
    const console = new Console();
    const outcome = await runVcpus({ vcpus: [vcpu], console });
    expect(outcome).toMatchObject({ how: 'exit-port', exitCode: 5, console: { bytes: 5, dropped: 0 } });
    expect((await read(console)).toString()).toBe('hello');
  });

  it('find a serial port that is ready, keeps its scratch register, and loops back what it is told to', async () => {
    const { vcpu } = realMode(system, [
      ...[0xba, ...word(0x3fd), 0xec, 0x88, 0xc3], // LSR to BL
      ...outb(0x3ff, 0xa5), // scratch
      ...[0xec, 0x88, 0xc7], // to BH
      ...outb(0x3fb, 0x80), // divisor latch on: what follows is no console byte
      ...outb(0x3f8, 1),
      ...outb(0x3fb, 3),
      ...outb(0x3fc, 0x10), // loopback: neither is this
      ...outb(0x3f8, 0x5a),
      ...[0xec, 0x88, 0xc1], // what came back to CL
      ...outb(0x3fc, 0),
      ...outb(0x3f8, 0x21),
      ...[0xba, ...word(0xf4), 0x89, 0xd8, 0x30, 0xe0, 0x30, 0xc8, 0xee], // BL ^ BH ^ CL
    ]);
    const console = new Console();
    const outcome = await runVcpus({ vcpus: [vcpu], console });
    expect(outcome.exitCode).toBe(0x60 ^ 0xa5 ^ 0x5a);
    expect((await read(console)).toString()).toBe('!');
  });

  it('are seen while they run, though they leave for nothing else', async () => {
    const { vcpu } = realMode(system, [...print('here I am'), ...SPIN]);
    const console = new Console();
    const stop = new AbortController();
    const running = runVcpus({ vcpus: [vcpu], console }, { signal: stop.signal });
    const { value } = await console.stream.getReader().read();
    expect(Buffer.from(value!).toString()).toBe('here I am'.slice(0, value!.length));
    stop.abort();
    expect(await running).toMatchObject({ how: 'aborted' });
  });

  it('that loop for ever end with the signal, the timeout and close()', async () => {
    const signal = AbortSignal.timeout(20);
    expect(await runVcpus({ vcpus: [realMode(system, SPIN).vcpu] }, { signal })).toMatchObject({ how: 'aborted' });
    const outcome = await runVcpus({ vcpus: [realMode(system, SPIN).vcpu] }, { timeout: 20 });
    expect(outcome).toMatchObject({ how: 'timeout' });
    expect(outcome.advice).toContain('loops');
    const { vcpu, vm } = realMode(system, SPIN);
    setTimeout(() => vm.close(), 20);
    expect(await runVcpus({ vcpus: [vcpu] })).toMatchObject({ how: 'closed' });
  });

  it('that flood the console lose no byte, in order, and wait for a slow reader', async () => {
    const n = 60_000;
    const { vcpu } = realMode(system, [...flood(n), ...exitWith(0)]);
    const console = new Console({ full: 1000 });
    const running = runVcpus({ vcpus: [vcpu], console });
    const chunks: Uint8Array[] = [];
    for await (const chunk of console.stream) {
      chunks.push(chunk);
      await sleep(1);
    }
    expect(await running).toMatchObject({ how: 'exit-port', console: { bytes: 4 * n, dropped: 0 } });
    expect(Buffer.concat(chunks).equals(flooded(n))).toBe(true);
  });

  it('that flood a console that nobody reads go on; its end is kept', async () => {
    const n = 20_000;
    const { vcpu } = realMode(system, [...flood(n), ...exitWith(0)]);
    const console = new Console({ kept: 4000 });
    const outcome = await runVcpus({ vcpus: [vcpu], console });
    expect(outcome.console).toEqual({ bytes: 4 * n, dropped: 4 * n - 4000 });
    expect((await read(console)).equals(flooded(1000))).toBe(true);
  });

  it('that flood the console for ever end with the timeout, read or not', async () => {
    const forEver = [...flood(0xffff_ffff)];
    expect(await runVcpus({ vcpus: [realMode(system, forEver).vcpu] }, { timeout: 50 })).toMatchObject({
      how: 'timeout',
    });
    const console = new Console({ full: 100 });
    console.stream.getReader();
    const stuck = await runVcpus({ vcpus: [realMode(system, forEver).vcpu], console }, { timeout: 50 });
    expect(stuck).toMatchObject({ how: 'timeout' });
  });

  it('that fault in their handler end with a triple fault', async () => {
    const { vcpu } = protectedMode(system, [0x0f, 0x0b]);
    expect(await runVcpus({ vcpus: [vcpu] })).toMatchObject({ how: 'triple-fault', vcpu: 0 });
  });

  it('on several vCPUs print in the order in which they wrote', async () => {
    // lock xadd takes a turn from [0x6000]; both print until 40 turns are gone. Which one it was does not matter: turns rise.
    // again: mov al, 1; lock xadd [0x6000], al; mov dx, 0x3f8; cmp al, 40; jae end; wait for [0x6001] == al; out; inc [0x6001]
    const body = [
      ...[0xb0, 0x01, 0xf0, 0x0f, 0xc0, 0x06, ...word(0x6000)],
      ...[0x3c, 40, 0x73, 0x0f],
      ...[0x3a, 0x06, ...word(0x6001), 0x75, 0xfa],
      ...[0xba, ...word(0x3f8), 0xee, 0xfe, 0x06, ...word(0x6001)],
    ];
    const code = [...body, 0xeb, 0, HLT];
    code[code.length - 2] = 256 - (code.length - 1);
    // jae goes to the HLT
    code[11] = code.length - 1 - 12;
    const { vcpu, vm } = realMode(system, code);
    const console = new Console();
    const outcome = await runVcpus({ vcpus: [vcpu, addVcpu(vm, 1)], console });
    expect(outcome).toMatchObject({ how: 'halted' });
    expect([...(await read(console))]).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  it('leave no thread, descriptor or timer, however they end', async () => {
    const count = () => ['fd', 'task'].map((folder) => readdirSync(`/proc/self/${folder}`).length);
    const once = async (round: number) => {
      const { vm, memory, vcpu } = realMode(
        system,
        round % 2 ? [...flood(2000), ...SPIN] : [...print('x'), ...exitWith(0)],
      );
      const running = runVcpus({ vcpus: [vcpu] }, { timeout: 10 });
      if (round % 4 === 1) vm.close();
      await running;
      vm.close();
      memory.close();
    };
    await once(0);
    const before = count();
    for (let round = 0; round < 12; round++) await once(round);
    expect(count()).toEqual(before);
  });
});
