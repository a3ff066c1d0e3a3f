import { describe, expect, it } from 'vitest';
import type { Backend } from './backend.js';
import { expectStateError } from './expect-error.js';
import { boot, restart, SPIN, WRITE_A } from './real-mode.js';

const later = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The error that `promise` rejects with, and how long that took. */
async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => expect.fail(`resolved with ${JSON.stringify(value)}`),
    (error: unknown) => error,
  );
}

export function interruptionContract(backend: Backend): void {
  describe('a running vCPU', () => {
    it('is ended by its AbortSignal, with the reason as cause, and runs again', async () => {
      using system = backend.open();
      const { vcpu, memory } = boot(system, SPIN);
      const controller = new AbortController();
      const run = vcpu.run({ signal: controller.signal });
      expect(vcpu.running).toBe(true);
      await later(20);
      controller.abort('enough');
      expect(await rejection(run)).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', cause: 'enough' });
      expect(vcpu.running).toBe(false);
      memory.write(0x1000, Uint8Array.from(WRITE_A));
      restart(vcpu);
      expect(await vcpu.run()).toMatchObject({ reason: 'io', port: 0x3f8 });
    });

    it('is ended at once by a timeout, two hundred times in a row', async () => {
      using system = backend.open();
      const { vcpu } = boot(system, SPIN);
      for (let i = 0; i < 200; i++) {
        const controller = new AbortController();
        const run = vcpu.run({ signal: controller.signal });
        if (i % 2 === 0) await later(0);
        controller.abort();
        expect(await rejection(run)).toMatchObject({ name: 'AbortError' });
      }
    });

    it('is not started with a signal that is aborted already', async () => {
      using system = backend.open();
      const { vcpu } = boot(system, WRITE_A);
      expect(await rejection(vcpu.run({ signal: AbortSignal.abort('no') }))).toMatchObject({ cause: 'no' });
      expect(await vcpu.run()).toMatchObject({ reason: 'io' });
    });

    it('does not lose an answer that an abort overtakes', async () => {
      using system = backend.open();
      const { vcpu } = boot(system, [0xe4, 0x50, 0xeb, 0xfe]); // in al, 0x50; jmp $
      await vcpu.run();
      const controller = new AbortController();
      const run = vcpu.run({ reply: { data: Uint8Array.of(0x42) }, signal: controller.signal });
      controller.abort();
      await rejection(run);
      expect(vcpu.getRegs().rax & 0xffn).toBe(0x42n);
    });

    it.each(['the vCPU', 'its VM', 'its system'])('is ended by closing %s: ERR_KVM_CLOSED', async (which) => {
      using system = backend.open();
      const { vcpu, vm } = boot(system, SPIN);
      const run = vcpu.run();
      await later(10);
      const started = performance.now();
      ({ 'the vCPU': vcpu, 'its VM': vm, 'its system': system })[which]!.close();
      expect(performance.now() - started).toBeLessThan(500);
      expect(vcpu.closed).toBe(true);
      expect(await rejection(run)).toMatchObject({ name: 'KvmStateError', code: 'ERR_KVM_CLOSED' });
    });

    it('is ended by closing it right after the start', async () => {
      using system = backend.open();
      for (let i = 0; i < 20; i++) {
        const { vcpu, vm } = boot(system, SPIN);
        const run = vcpu.run();
        vcpu.close();
        expect(await rejection(run)).toMatchObject({ code: 'ERR_KVM_CLOSED' });
        vm.close();
      }
    });

    it('refuses every other request meanwhile: ERR_KVM_VCPU_RUNNING', async () => {
      using system = backend.open();
      const { vcpu } = boot(system, SPIN);
      const regs = vcpu.getRegs();
      const sregs = vcpu.getSregs();
      const run = vcpu.run();
      for (const request of [
        () => vcpu.getRegs(),
        () => vcpu.setRegs(regs),
        () => vcpu.getSregs(),
        () => vcpu.setSregs(sregs),
        () => vcpu.setCpuid2([]),
        () => vcpu.tdx.initVcpu(0n),
        () => vcpu.tdx.getCpuid(),
      ]) {
        expectStateError(request, 'ERR_KVM_VCPU_RUNNING');
      }
      expect(await rejection(vcpu.run())).toMatchObject({ code: 'ERR_KVM_VCPU_RUNNING' });
      expect(vcpu.running).toBe(true);
      vcpu.close();
      await rejection(run);
    });

    it('leaves timers and promises of this thread alone', async () => {
      using system = backend.open();
      const { vcpu } = boot(system, SPIN);
      const run = vcpu.run();
      const started = performance.now();
      await later(30);
      expect(performance.now() - started).toBeLessThan(1000);
      vcpu.close();
      await rejection(run);
    });
  });
}
