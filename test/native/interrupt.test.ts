import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { KvmSystem } from '../../src/kvm/index.js';
import { describeOnKernel, kernel } from '../contract/backends.js';
import { addVcpu, type Guest, protectedMode, realMode, SPIN, WRITE_A } from './guest.js';

/** Long enough that the guest is being executed, most of the time. */
const A_WHILE = 5;
const closed = { name: 'KvmStateError', code: 'ERR_KVM_CLOSED' };

describeOnKernel('interrupting a vCPU that executes jmp $', () => {
  let system: KvmSystem;
  let guest: Guest;
  beforeEach(() => {
    system = kernel.open();
    guest = protectedMode(system, SPIN);
  });
  afterEach(() => system.close());

  it('an AbortSignal: AbortError with the reason as its cause, and the vCPU can run again', async () => {
    for (let i = 0; i < 20; i++) {
      const abort = new AbortController();
      const run = guest.vcpu.run({ signal: abort.signal });
      expect(guest.vcpu.running).toBe(true);
      await sleep(i % 3);
      const reason = new Error(`reason ${i}`);
      abort.abort(reason);
      await expect(run).rejects.toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: reason });
      expect(guest.vcpu.running).toBe(false);
    }
    expect(guest.vcpu.getRegs().rip).toBe(0x1000n);
  });

  it('a signal that is aborted at once, or was before the run', async () => {
    for (let i = 0; i < 100; i++) {
      const abort = new AbortController();
      const run = guest.vcpu.run({ signal: abort.signal });
      abort.abort();
      await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    }
    await expect(guest.vcpu.run({ signal: AbortSignal.abort('early') })).rejects.toMatchObject({ cause: 'early' });
  });

  it('AbortSignal.timeout(): the cause is its TimeoutError', async () => {
    const run = guest.vcpu.run({ signal: AbortSignal.timeout(10) });
    await expect(run).rejects.toMatchObject({ name: 'AbortError', cause: { name: 'TimeoutError' } });
  });

  it('leaves no listener on a signal that lives longer than its runs', async () => {
    const abort = new AbortController();
    let listeners = 0;
    const { signal } = abort;
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
    const { vcpu } = realMode(system, [...WRITE_A.slice(0, -1), ...WRITE_A]);
    for (let i = 0; i < 3; i++) await vcpu.run({ signal });
    expect(listeners).toBe(0);
  });

  it.each([
    ['vcpu.close()', (g: Guest) => g.vcpu.close()],
    ['vm.close()', (g: Guest) => g.vm.close()],
    ['system.close()', () => system.close()],
  ])('%s: ERR_KVM_CLOSED, and everything below is closed', async (_, close) => {
    const run = guest.vcpu.run();
    await sleep(A_WHILE);
    close(guest);
    expect(guest.vcpu.closed).toBe(true);
    await expect(run).rejects.toMatchObject(closed);
    expect(guest.vcpu.running).toBe(false);
  });

  it('a close in the same turn as the run', async () => {
    for (let i = 0; i < 50; i++) {
      const { vcpu, vm } = protectedMode(system, SPIN);
      const run = vcpu.run();
      (i % 2 ? vm : vcpu).close();
      await expect(run).rejects.toMatchObject(closed);
    }
  });

  it('another run, and every other request, is refused while it runs', async () => {
    const { vcpu } = guest;
    const regs = vcpu.getRegs();
    const sregs = vcpu.getSregs();
    const abort = new AbortController();
    const run = vcpu.run({ signal: abort.signal });
    const running = expect.objectContaining({ name: 'KvmStateError', code: 'ERR_KVM_VCPU_RUNNING' });
    await expect(vcpu.run()).rejects.toEqual(running);
    for (const request of [
      () => vcpu.getRegs(),
      () => vcpu.setRegs(regs),
      () => vcpu.getSregs(),
      () => vcpu.setSregs(sregs),
      () => vcpu.setCpuid2([]),
      () => vcpu.tdx.initVcpu(0n),
      () => vcpu.tdx.getCpuid(),
      () => vcpu.tdx.initMemRegion({ source: guest.memory, sourceOffset: 0, gpa: 0n, nrPages: 1, measure: false }),
    ]) {
      expect(request).toThrow(running);
    }
    expect(vcpu.running).toBe(true);
    expect(vcpu.takePortOutput()).toEqual(new Uint8Array(0));
    abort.abort();
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
    expect(vcpu.getRegs().rip).toBe(regs.rip);
  });

  it('an abort that comes when the guest has exited changes nothing', async () => {
    const { vcpu } = realMode(system, WRITE_A);
    const abort = new AbortController();
    expect(await vcpu.run({ signal: abort.signal })).toMatchObject({ reason: 'io' });
    abort.abort();
    expect(await vcpu.run()).toEqual({ reason: 'hlt' });
  });

  it('an abort between an exit and its report lets that exit or the AbortError win, and the guest goes on', async () => {
    const { vcpu } = realMode(system, [0xba, 0x10, 0, 0xee, 0xeb, 0xfd]); // mov dx, 0x10; loop: out dx, al; jmp loop
    let exits = 0;
    for (let i = 0; i < 200; i++) {
      const abort = new AbortController();
      const run = vcpu.run({ signal: abort.signal });
      queueMicrotask(() => abort.abort());
      const answer = await run.catch((error) => error);
      if (answer.name === 'AbortError') continue;
      expect(answer).toMatchObject({ reason: 'io', port: 0x10 });
      exits++;
    }
    expect(await vcpu.run()).toMatchObject({ reason: 'io', port: 0x10 });
    expect(exits).toBeLessThanOrEqual(200);
  });

  it('several vCPUs of a VM run at once, and end one by one', async () => {
    const vcpus = [guest.vcpu, addVcpu(guest.vm, 1), addVcpu(guest.vm, 2)];
    const aborts = vcpus.map(() => new AbortController());
    const runs = vcpus.map((vcpu, i) => vcpu.run({ signal: aborts[i]!.signal }));
    await sleep(A_WHILE);
    aborts[1]!.abort();
    await expect(runs[1]).rejects.toMatchObject({ name: 'AbortError' });
    expect(vcpus.map((vcpu) => vcpu.running)).toEqual([true, false, true]);
    guest.vm.close();
    await expect(runs[0]).rejects.toMatchObject(closed);
    await expect(runs[2]).rejects.toMatchObject(closed);
  });

  it('a guest leaves the event loop and the thread pool alone', async () => {
    const others = Array.from({ length: 4 }, () => protectedMode(system, SPIN));
    const runs = [guest, ...others].map(({ vcpu }) => vcpu.run());
    const started = performance.now();
    await import('node:fs/promises').then((fs) => fs.readFile('/proc/self/status'));
    expect(performance.now() - started).toBeLessThan(2000);
    system.close();
    expect((await Promise.allSettled(runs)).map(({ status }) => status)).toEqual(Array(5).fill('rejected'));
  });
});
