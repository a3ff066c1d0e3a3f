import { afterEach, describe, expect, it } from 'vitest';
import { hlt, inp, out, type Scripted, scriptedTd, turns, vmcall } from './scripted-guest.js';

let td: Scripted | undefined;
afterEach(() => td?.close());

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

describe('TDG.VP.VMCALL<IO> of a TD', () => {
  it('ends KVM_RUN with KVM_EXIT_IO for a write, and the guest finds 0 in R10', async () => {
    td = scriptedTd(function* () {
      const { r10, r11 } = yield out(0x3f8, 0x1241, 2);
      expect([r10, r11]).toEqual([0n, 30n]);
    });
    const data = Uint8Array.of(0x41, 0x12);
    expect(await td.vcpu.run()).toEqual({ reason: 'io', direction: 'out', size: 2, port: 0x3f8, count: 1, data });
    expect(await td.vcpu.run()).toEqual({ reason: 'shutdown' });
  });

  it.each([
    [1, [0x5a], 0x5an],
    [2, [0x5a, 0xff], 0xff5an],
    [4, [1, 2, 3, 0x84], 0x8403_0201n],
  ])('gives the %i bytes of the reply to a read in R11, zero-extended', async (size, bytes, expected) => {
    td = scriptedTd(function* () {
      expect((yield inp(0x50, size)).r11).toBe(expected);
    });
    expect(await td.vcpu.run()).toMatchObject({ reason: 'io', direction: 'in', size, data: new Uint8Array(0) });
    expect(await td.vcpu.run({ reply: { data: Uint8Array.from(bytes) } })).toEqual({ reason: 'shutdown' });
  });

  it('gives an empty bus to a read that nobody answers', async () => {
    td = scriptedTd(function* () {
      expect((yield inp(0x50, 2)).r11).toBe(0xffffn);
    });
    await td.vcpu.run();
    expect(await td.vcpu.run()).toEqual({ reason: 'shutdown' });
  });

  it.each([
    ['three bytes', vmcall(30, { r12: 3n })],
    ['no bytes', vmcall(30, { r12: 0n })],
    ['neither read nor write', vmcall(30, { r12: 1n, r13: 2n })],
  ])('refuses %s with TDVMCALL_STATUS_INVALID_OPERAND and does not leave KVM', async (_, exit) => {
    td = scriptedTd(function* () {
      expect((yield exit).r10).toBe(1n << 63n);
    });
    expect(await td.vcpu.run()).toEqual({ reason: 'shutdown' });
  });

  it('takes the lower 16 bits of R14 for the port, as KVM does', async () => {
    td = scriptedTd(function* () {
      yield vmcall(30, { r12: 1n, r13: 1n, r14: 0xdead_03f8n });
    });
    expect(await td.vcpu.run()).toMatchObject({ port: 0x3f8 });
  });

  it('refuses a reply of the wrong length, or one that nobody asked for, and takes the right one afterwards', async () => {
    td = scriptedTd(function* () {
      expect((yield inp(0x50, 2)).r11).toBe(0x201n);
    });
    const { vcpu } = td;
    const data = Uint8Array.of(1, 2);
    await expect(vcpu.run({ reply: { data } })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'reply.data: the last exit was no read of a port or of MMIO',
    });
    await vcpu.run();
    for (const wrong of [0, 1, 3])
      await expect(vcpu.run({ reply: { data: new Uint8Array(wrong) } })).rejects.toMatchObject({
        name: 'RangeError',
        code: 'ERR_OUT_OF_RANGE',
        message: `reply.data must have the 2 bytes that the exit asked for, got ${wrong}`,
      });
    for (const reply of [{ ret: 0n }, { tdVmCallInfo: { r11: 0n, r12: 0n, r13: 0n, r14: 0n } }])
      await expect(vcpu.run({ reply })).rejects.toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
    expect(await vcpu.run({ reply: { data } })).toEqual({ reason: 'shutdown' });
  });
});

describe('ports answered during a run', () => {
  it('gather what is written and read as they are told, without an exit', async () => {
    td = scriptedTd(function* () {
      yield out(0x3f8, 0x48);
      expect((yield inp(0x3fd, 2)).r11).toBe(0x6060n);
      yield out(0x3f8, 0x69);
      yield out(0x80, 1);
      expect((yield inp(0x80)).r11).toBe(0xffn);
      yield out(0xf4, 7);
    });
    const ports = [
      { first: 0x3f8, last: 0x3f8, gather: true },
      { first: 0x3f9, last: 0x3ff, readByte: 0x60 },
      { first: 0x80, last: 0x80 },
    ];
    expect(await td.vcpu.run({ ports })).toMatchObject({ port: 0xf4, data: Uint8Array.of(7) });
    expect(text(td.vcpu.takePortOutput())).toBe('Hi');
    expect(td.vcpu.takePortOutput()).toEqual(new Uint8Array(0));
  });

  it('the first range that has the port counts', async () => {
    td = scriptedTd(function* () {
      yield out(0x3f8, 0x41);
      yield out(0xf4, 0);
    });
    const range = { first: 0x3f8, last: 0x3ff };
    await td.vcpu.run({ ports: [range, { ...range, gather: true }] });
    expect(td.vcpu.takePortOutput()).toHaveLength(0);
  });

  it('hand over a write as an exit when 1 MiB waits, with all of its bytes and none of them gathered', async () => {
    const most = 1 << 20;
    td = scriptedTd(function* () {
      for (let i = 0; i < most / 4 - 1; i++) yield out(0x3f8, 0x41414141, 4);
      yield out(0x3f8, 0x42, 1);
      yield out(0x3f8, 0x43434343, 4);
      yield out(0xf4, 0);
    });
    const ports = [{ first: 0x3f8, last: 0x3f8, gather: true }];
    expect(await td.vcpu.run({ ports })).toMatchObject({ port: 0x3f8, data: Uint8Array.of(0x43, 0x43, 0x43, 0x43) });
    expect(td.vcpu.takePortOutput()).toHaveLength(most - 3);
    expect(await td.vcpu.run({ ports })).toMatchObject({ port: 0xf4 });
    expect(td.vcpu.takePortOutput()).toHaveLength(0);
  });

  it('leave the last words of a closed vCPU to be taken', async () => {
    td = scriptedTd(function* () {
      yield out(0x3f8, 0x21);
      yield 'spin';
    });
    const run = td.vcpu.run({ ports: [{ first: 0x3f8, last: 0x3f8, gather: true }] });
    await turns();
    td.vcpu.close();
    await expect(run).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
    expect(text(td.vcpu.takePortOutput())).toBe('!');
  });

  it('do not keep an AbortSignal from a guest that floods the console', async () => {
    td = scriptedTd(function* () {
      for (;;) yield out(0x3f8, 0x41);
    });
    const ports = [{ first: 0x3f8, last: 0x3f8 }];
    await expect(td.vcpu.run({ ports, signal: AbortSignal.timeout(20) })).rejects.toMatchObject({
      name: 'AbortError',
      cause: { name: 'TimeoutError' },
    });
  });
});

describe('a run that is interrupted', () => {
  it('by an AbortSignal: AbortError with the reason as its cause, and the guest goes on in the next run', async () => {
    td = scriptedTd(function* () {
      yield 'spin';
    });
    const { vcpu, trace } = td;
    for (let i = 0; i < 3; i++) {
      const abort = new AbortController();
      const run = vcpu.run({ signal: abort.signal });
      expect(vcpu.running).toBe(true);
      await turns();
      abort.abort(`reason ${i}`);
      await expect(run).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: `reason ${i}` });
      expect(vcpu.running).toBe(false);
    }
    expect(trace.filter(({ leaf }) => leaf === 0).length).toBeGreaterThanOrEqual(2);
  });

  it('by a signal that was aborted before: nothing happens, and the reply is still to be given', async () => {
    td = scriptedTd(function* () {
      expect((yield inp(0x50)).r11).toBe(7n);
    });
    await td.vcpu.run();
    const reply = { data: Uint8Array.of(7) };
    const early = { reply, signal: AbortSignal.abort('early') };
    await expect(td.vcpu.run(early)).rejects.toMatchObject({ cause: 'early' });
    expect(await td.vcpu.run({ reply })).toEqual({ reason: 'shutdown' });
  });

  it('before it enters the guest (completeOnly): the last exit is completed, and the guest stays where it is', async () => {
    td = scriptedTd(function* () {
      expect((yield inp(0x50)).r11).toBe(7n);
      yield out(0x80, 0);
    });
    const { vcpu, trace } = td;
    expect(await vcpu.run({ completeOnly: true })).toEqual({ reason: 'intr' });
    expect(trace).toEqual([]);
    await vcpu.run();
    expect(await vcpu.run({ reply: { data: Uint8Array.of(7) }, completeOnly: true })).toEqual({ reason: 'intr' });
    expect(trace.filter(({ leaf }) => leaf === 0)).toHaveLength(1);
    expect(await vcpu.run()).toMatchObject({ port: 0x80 });
  });

  it('while the guest halts', async () => {
    td = scriptedTd(function* () {
      yield hlt();
    });
    await expect(td.vcpu.run({ signal: AbortSignal.timeout(5) })).rejects.toMatchObject({ name: 'AbortError' });
    await expect(td.vcpu.run({ signal: AbortSignal.timeout(5) })).rejects.toMatchObject({ name: 'AbortError' });
    expect(td.trace.filter(({ leaf }) => leaf === 0)).toHaveLength(1);
  });

  it('leaves no listener on a signal that lives longer than its runs', async () => {
    td = scriptedTd(function* () {
      for (let i = 0; i < 3; i++) yield out(0x80, i);
    });
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      return add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      return remove(...args);
    };
    for (let i = 0; i < 3; i++) await td.vcpu.run({ signal });
    expect(listeners).toBe(0);
  });

  it.each([
    ['vcpu.close()', (it: Scripted) => it.vcpu.close()],
    ['vm.close()', (it: Scripted) => it.vm.close()],
    ['system.close()', (it: Scripted) => it.close()],
  ])('by %s: ERR_KVM_CLOSED, and what it had is given back when it has ended', async (_, close) => {
    for (const guest of ['spin', hlt()] as const) {
      const closing = scriptedTd(function* () {
        yield guest;
        yield guest;
      });
      const run = closing.vcpu.run();
      await turns();
      close(closing);
      expect(closing.vcpu.closed).toBe(true);
      await expect(run).rejects.toMatchObject({ name: 'KvmStateError', code: 'ERR_KVM_CLOSED' });
      expect(closing.vcpu.running).toBe(false);
      closing.close();
      expect(closing.host.stats()).toMatchObject({ vms: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 });
    }
  });

  it('by a close in the same turn', async () => {
    td = scriptedTd(function* () {
      yield 'spin';
    });
    const run = td.vcpu.run();
    td.vcpu.close();
    await expect(run).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
  });

  it('refuses other requests meanwhile', async () => {
    td = scriptedTd(function* () {
      yield 'spin';
    });
    const { vcpu } = td;
    const run = vcpu.run();
    const running = expect.objectContaining({ name: 'KvmStateError', code: 'ERR_KVM_VCPU_RUNNING' });
    await expect(vcpu.run()).rejects.toEqual(running);
    expect(() => vcpu.setCpuid2([])).toThrow(running);
    vcpu.close();
    await expect(run).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
  });

  it('one of several vCPUs: the others run on', async () => {
    td = scriptedTd(
      Array.from(
        { length: 3 },
        () =>
          function* () {
            yield 'spin' as const;
          },
      ),
    );
    const aborts = td.vcpus.map(() => new AbortController());
    const runs = td.vcpus.map((vcpu, i) => vcpu.run({ signal: aborts[i]!.signal }));
    await turns();
    aborts[1]!.abort();
    await expect(runs[1]).rejects.toMatchObject({ name: 'AbortError' });
    expect(td.vcpus.map(({ running }) => running)).toEqual([true, false, true]);
    td.vm.close();
    const ends = await Promise.allSettled([runs[0], runs[2]]);
    expect(ends).toMatchObject(Array(2).fill({ status: 'rejected', reason: { code: 'ERR_KVM_CLOSED' } }));
  });
});
