import { openSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { MockHost } from '../../src/mock/kernel/host.js';
import type { VpEnterArgs, VpEnterResult } from '../../src/mock/module/seamcall.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { iow } from '../../src/wire/layout/ioctl.js';
import { kvmRun, type Member, runMembers } from '../../src/wire/layout/run.js';
import { kvmMsrFilter } from '../../src/wire/layout/state.js';
import type { Decoded, Fields } from '../../src/wire/layout/struct.js';
import { kvmEnableCap } from '../../src/wire/layout/vm.js';
import { WireServer } from '../../src/wire/server.js';
import { type Exit, hlt, inp, out, SHARED, vmcall } from '../kernel/scripted-guest.js';
import { TestThread } from './client.js';
import { buildTd, REQUEST, tdx, type WireTd } from './td.js';

const [EINTR, EFAULT, EINVAL] = [4, 14, 22];

/** TDX_NON_RECOVERABLE_VCPU with the exit reason of a triple fault. */
const TRIPLE_FAULT = 0x4000_0001_0000_0002n;

const REGISTERS = ['rcx', 'rdx', 'rbx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const;
const ZEROS = Object.fromEntries(REGISTERS.map((name) => [name, 0n])) as Record<(typeof REGISTERS)[number], bigint>;

/** The pages of a vCPU as a program has them mapped. */
class Page {
  readonly #file: number;
  constructor(path: string) {
    this.#file = openSync(path, 'r+');
  }
  read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSync(this.#file, bytes, 0, length, offset);
    return bytes;
  }
  write(offset: number, bytes: Uint8Array): void {
    writeSync(this.#file, bytes, 0, bytes.length, offset);
  }
  get exitReason(): number {
    return this.read(8, 4).readUInt32LE();
  }
  member<F extends Fields>({ offset, struct }: Member<F>): Decoded<F> {
    return struct.decode(this.read(offset, struct.size));
  }
  change<F extends Fields>(member: Member<F>, fields: Partial<Decoded<F>>): void {
    this.write(member.offset, member.struct.encode({ ...this.member(member), ...fields }));
  }
}

interface Running {
  thread: TestThread;
  td: WireTd;
  page: Page;
  run(): Promise<number>;
}

let server: WireServer | undefined;
afterEach(async () => {
  const host = server?.host;
  await server?.close();
  expect(host?.stats()).toMatchObject({ vms: 0, pagesAllocated: 0 });
  server = undefined;
});

/** A finalised TD whose guest does what the script says: it gets the registers with which it is entered again. */
async function running(script: () => Generator<Exit | 'spin', void, VpEnterArgs>): Promise<Running> {
  const engine = async () => ({
    name: 'interpreter' as const,
    description: 'a script',
    openTd: () => never(),
    close() {},
  });
  const host = new MockHost(loadProfile('spr-1.5.05'), { engine });
  server = await WireServer.listen(host);
  const guest = script();
  let spinning = false;
  host.tdx!.module.vpEnter = async (args, { signal }): Promise<VpEnterResult> => {
    const exit = spinning ? 'spin' : (guest.next(args).value ?? { status: TRIPLE_FAULT });
    spinning = exit === 'spin';
    if (exit !== 'spin') return { ...ZEROS, ...exit };
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    return { ...ZEROS, status: 1n };
  };
  const thread = await TestThread.start(server.path);
  const td = await buildTd(thread);
  const exitHypercall = kvmEnableCap.encode({ cap: 201, args: [0x1000n] });
  await thread.struct(td.vm, REQUEST.ENABLE_CAP, exitHypercall);
  await tdx(thread, td.vm, 'FINALIZE_VM');
  const page = new Page(`${dirname(server.path)}/run-${td.vcpu.id.toString(16).padStart(16, '0')}`);
  return { thread, td, page, run: async () => (await thread.ioctl(td.vcpu, REQUEST.RUN)).result };
}

const never = (): never => {
  throw new Error('no guest is executed here');
};

describe('kvm_run after KVM_RUN of a TD', () => {
  it('has a port that was written, its bytes at data_offset', async () => {
    const { page, run } = await running(function* () {
      yield out(0x3f8, 0x1241, 2);
    });
    expect(await run()).toBe(0);
    expect(page.exitReason).toBe(2);
    const io = page.member(runMembers.io);
    expect(io).toEqual({ direction: 1, size: 2, port: 0x3f8, count: 1, data_offset: 4096n });
    expect(page.read(Number(io.data_offset), 2)).toEqual(Buffer.from([0x41, 0x12]));
    expect(await run()).toBe(0);
    expect(page.exitReason).toBe(8);
  });

  it('has a port that is read, and hands on what is at data_offset when the guest goes on', async () => {
    const { page, run } = await running(function* () {
      expect((yield inp(0x50, 4)).r11).toBe(0x0403_0201n);
    });
    await run();
    expect(page.member(runMembers.io)).toMatchObject({ direction: 0, size: 4, port: 0x50 });
    page.write(4096, Uint8Array.of(1, 2, 3, 4));
    expect(await run()).toBe(0);
    expect(page.exitReason).toBe(8);
  });

  it('comes to no MSR that KVM_X86_SET_MSR_FILTER denies', async () => {
    const [MISC_ENABLE, POWER_CTL, REFUSED] = [0x1a0n, 0x1fcn, 1n << 63n];
    const { thread, td, page, run } = await running(function* () {
      expect((yield vmcall(31, { r12: MISC_ENABLE })).r11).toBe(0x1800n);
      expect((yield vmcall(32, { r12: MISC_ENABLE, r13: 0x1800n })).r10).toBe(REFUSED);
      expect((yield vmcall(31, { r12: POWER_CTL })).r10).toBe(REFUSED);
    });
    const bitmap = { address: 0x6000_0000n, bytes: Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0) };
    const readable = { flags: 1, nmsrs: 1, base: Number(MISC_ENABLE), bitmap: bitmap.address };
    const filter = kvmMsrFilter.encode({ flags: 1, ranges: [readable] });
    expect((await thread.struct(td.vm, iow(0xc6, kvmMsrFilter), filter, [bitmap])).result).toBe(0);
    expect(await run()).toBe(0);
    expect(page.exitReason).toBe(8);
  });

  it('has MapGPA as KVM_HC_MAP_GPA_RANGE, whose ret is what the guest is told', async () => {
    const { page, run } = await running(function* () {
      expect((yield vmcall(0x1_0001, { r12: 0x10_0000n, r13: 0x1000n })).r10).toBe(1n << 63n);
      expect((yield vmcall(0x1_0001, { r12: 0x10_1000n, r13: 0x1000n })).r10).toBe(0n);
    });
    await run();
    expect(page.exitReason).toBe(3);
    const call = page.member(runMembers.hypercall);
    expect(call).toMatchObject({ nr: 12n, ret: 0n });
    expect(call.args.slice(0, 3)).toEqual([0x10_0000n, 1n, 0x10n]);
    page.change(runMembers.hypercall, { ret: 22n });
    await run();
    expect(page.exitReason).toBe(3);
    await run();
    expect(page.exitReason).toBe(8);
  });

  it('has GetQuote with "unsupported" as its answer, until user space writes another', async () => {
    const { page, run } = await running(function* () {
      expect((yield vmcall(0x1_0002, { r12: SHARED | 0x5000n, r13: 0x2000n })).r10).toBe(0x8000_0000_0000_0003n);
      expect((yield vmcall(0x1_0002, { r12: SHARED | 0x5000n, r13: 0x2000n })).r10).toBe(0n);
    });
    await run();
    expect(page.exitReason).toBe(40);
    expect(page.member(runMembers.tdx).nr).toBe(0x1_0002n);
    expect(page.member(runMembers.getQuote)).toEqual({ ret: 0x8000_0000_0000_0003n, gpa: 0x5000n, size: 0x2000n });
    await run();
    page.change(runMembers.getQuote, { ret: 0n });
    await run();
    expect(page.exitReason).toBe(8);
  });

  it('has GetTdVmCallInfo, whose registers go to the guest', async () => {
    const { page, run } = await running(function* () {
      expect(yield vmcall(0x1_0000, { r12: 1n })).toMatchObject({ r10: 0n, r11: 2n, r12: 3n, r13: 4n, r14: 5n });
    });
    await run();
    expect(page.member(runMembers.getTdvmcallInfo)).toEqual({ ret: 0n, leaf: 1n, r11: 0n, r12: 0n, r13: 0n, r14: 0n });
    page.change(runMembers.getTdvmcallInfo, { r11: 2n, r12: 3n, r13: 4n, r14: 5n });
    await run();
    expect(page.exitReason).toBe(8);
  });

  it('has SetupEventNotifyInterrupt with its vector', async () => {
    const { page, run } = await running(function* () {
      expect((yield vmcall(0x1_0004, { r12: 0x30n })).r10).toBe(0n);
    });
    await run();
    expect(page.member(runMembers.setupEventNotify)).toEqual({ ret: 0x8000_0000_0000_0003n, vector: 0x30n });
    page.change(runMembers.setupEventNotify, { ret: 0n });
    await run();
    expect(page.exitReason).toBe(8);
  });

  it('has ReportFatalError as KVM_EXIT_SYSTEM_EVENT with sixteen registers', async () => {
    const { page, run } = await running(function* () {
      yield vmcall(0x1_0003, { r12: 7n, r13: 0x1234n });
    });
    await run();
    expect(page.exitReason).toBe(24);
    const event = page.member(runMembers.systemEvent);
    expect(event).toMatchObject({ type: 7, ndata: 16 });
    expect([event.data[12], event.data[13]]).toEqual([7n, 0x1234n]);
  });

  it('has a memory fault, while KVM_RUN gives EFAULT', async () => {
    const { page, run } = await running(function* () {
      yield { status: 48n, r8: 0x5000_0000n, rcx: 2n };
    });
    expect(await run()).toBe(-EFAULT);
    expect(page.exitReason).toBe(39);
    expect(page.member(runMembers.memoryFault)).toEqual({ flags: 8n, gpa: 0x5000_0000n, size: 0x1000n });
  });

  it('has the state of the local APIC: x2APIC, the boot processor', async () => {
    const { page, run } = await running(function* () {
      yield out(1, 1);
    });
    await run();
    const { apic_base, cr8, if_flag, ready_for_interrupt_injection } = kvmRun.decode(page.read(0, kvmRun.size));
    expect({ apic_base, cr8, if_flag, ready_for_interrupt_injection }).toEqual({
      apic_base: 0xfee0_0d00n,
      cr8: 0n,
      if_flag: 0,
      ready_for_interrupt_injection: 1,
    });
  });
});

describe('KVM_RUN ends with EINTR', () => {
  it('at a signal, which KVM_EXIT_INTR says, and the guest goes on later', async () => {
    const { thread, page, run } = await running(function* () {
      yield out(1, 1);
      yield hlt();
    });
    expect(await run()).toBe(0);
    const halted = run();
    thread.interrupt();
    expect(await halted).toBe(-EINTR);
    expect(page.exitReason).toBe(10);
  });

  it('in a guest that executes without end', async () => {
    const { thread, run } = await running(function* () {
      yield 'spin';
    });
    const spinning = run();
    await new Promise((resolve) => setTimeout(resolve, 5));
    thread.interrupt();
    expect(await spinning).toBe(-EINTR);
  });

  it('with immediate_exit, once what user space has answered has reached the guest', async () => {
    const { page, run } = await running(function* () {
      expect((yield inp(0x50, 1)).r11).toBe(0x77n);
    });
    await run();
    page.write(4096, Uint8Array.of(0x77));
    page.write(1, Uint8Array.of(1));
    expect(await run()).toBe(-EINTR);
    // The exit that was shown is still there.
    expect(page.exitReason).toBe(2);
    page.write(1, Uint8Array.of(0));
    page.write(4096, Uint8Array.of(0));
    expect(await run()).toBe(0);
    expect(page.exitReason).toBe(8);
  });
});

describe('KVM_RUN is refused', () => {
  it('with an argument, and with registers to synchronise', async () => {
    const { thread, td, page, run } = await running(function* () {
      yield out(1, 1);
    });
    expect((await thread.ioctl(td.vcpu, REQUEST.RUN, 1n)).result).toBe(-EINVAL);
    page.write(288, Uint8Array.of(1));
    expect(await run()).toBe(-EINVAL);
    page.write(288, Uint8Array.of(0));
    expect(await run()).toBe(0);
  });
});
