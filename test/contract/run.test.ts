import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { describeOnRunningTds } from './backends.js';
import { inp, NO_MEMORY, out, R15_FROM_R11, SPIN, TOUCH_NO_MEMORY, tinyTd, UD2, vmcall } from './tiny-td.js';

const PORT = 0x50;
const REPORT_FATAL_ERROR = 0x1_0003;
const HLT = 12;
const closed = { name: 'KvmStateError', code: 'ERR_KVM_CLOSED' };
const write = (port: number, value: number) => ({
  ...{ reason: 'io', direction: 'out', size: 1, port, count: 1 },
  data: Uint8Array.of(value),
});

describeOnRunningTds('what the KVM selftests ask of a TD', (use) => {
  it('life cycle: it is built, runs, and says so', async () => {
    const { vm, vcpus } = tinyTd(use(), [...out(PORT, 0), ...SPIN]);
    expect(await vcpus[0]!.run()).toEqual(write(PORT, 0));
    vm.close();
  });

  it('port I/O: what it writes reaches us, and what we answer reaches it', async () => {
    const code = [...out(PORT, 0xab), ...inp(PORT), ...R15_FROM_R11, ...out(PORT + 1), ...SPIN];
    const [vcpu] = tinyTd(use(), code).vcpus;
    expect(await vcpu!.run()).toEqual(write(PORT, 0xab));
    expect(await vcpu!.run()).toMatchObject({ reason: 'io', direction: 'in', size: 1, port: PORT, count: 1 });
    expect(await vcpu!.run({ reply: { data: Uint8Array.of(0xac) } })).toEqual(write(PORT + 1, 0xac));
  });

  it('a fatal error: KVM_EXIT_SYSTEM_EVENT of type 7 with sixteen registers, R12 the error, R13 an address', async () => {
    const error = 0x0baa_aaad_0000_0000n;
    const [vcpu] = tinyTd(use(), [...vmcall(REPORT_FATAL_ERROR, error, 1n << 47n), ...SPIN]).vcpus;
    const exit = await vcpu!.run();
    expect(exit).toMatchObject({ reason: 'system-event', type: 7 });
    const { data } = exit as { data: readonly bigint[] };
    expect(data).toHaveLength(16);
    expect(data.slice(10, 14)).toEqual([0n, BigInt(REPORT_FATAL_ERROR), error, 1n << 47n]);
  });
});

describeOnRunningTds('a running TD', (use) => {
  it('that faults without a handler is KVM_EXIT_SHUTDOWN', async () => {
    expect(await tinyTd(use(), UD2).vcpus[0]!.run()).toEqual({ reason: 'shutdown' });
  });

  it('that touches private memory which nobody gave it leaves with a memory fault', async () => {
    const [vcpu] = tinyTd(use(), TOUCH_NO_MEMORY).vcpus;
    const fault = { reason: 'memory-fault', isPrivate: true, flags: 8n, gpa: NO_MEMORY, size: 4096n };
    expect(await vcpu!.run()).toEqual(fault);
  });

  it('has its port accesses answered during a run, as it was told', async () => {
    const code = [...out(PORT, 0x48), ...out(PORT, 0x69), ...inp(PORT + 1), ...R15_FROM_R11, ...out(PORT + 2), ...SPIN];
    const [vcpu] = tinyTd(use(), code).vcpus;
    const ports = [
      { first: PORT, last: PORT, gather: true },
      { first: PORT + 1, last: PORT + 1, readByte: 0x60 },
    ];
    expect(await vcpu!.run({ ports })).toEqual(write(PORT + 2, 0x60));
    expect(Buffer.from(vcpu!.takePortOutput()).toString()).toBe('Hi');
  });

  it.each([
    ['loops for ever', SPIN],
    ['halts', vmcall(HLT, 0n)],
  ])('that %s is ended by an AbortSignal, and can be run again', async (_, code) => {
    const [vcpu] = tinyTd(use(), code).vcpus;
    for (let i = 0; i < 3; i++) {
      const abort = new AbortController();
      const run = vcpu!.run({ signal: abort.signal });
      await sleep(5);
      expect(vcpu!.running).toBe(true);
      abort.abort(i);
      await expect(run).rejects.toMatchObject({ name: 'AbortError', cause: i });
    }
  });

  it('that is closed ends with ERR_KVM_CLOSED, on every vCPU', async () => {
    const { vm, vcpus } = tinyTd(use(), SPIN, { nrVcpus: 2 });
    const runs = vcpus.map((vcpu) => vcpu.run());
    await sleep(5);
    vm.close();
    const ends = await Promise.allSettled(runs);
    expect(ends).toMatchObject(Array(2).fill({ status: 'rejected', reason: closed }));
  });

  it('refuses other requests on its vCPU meanwhile', async () => {
    const [vcpu] = tinyTd(use(), SPIN).vcpus;
    const run = vcpu!.run();
    const running = expect.objectContaining({ code: 'ERR_KVM_VCPU_RUNNING' });
    await expect(vcpu!.run()).rejects.toEqual(running);
    expect(() => vcpu!.setCpuid2([])).toThrow(running);
    vcpu!.close();
    await expect(run).rejects.toMatchObject(closed);
  });
});
