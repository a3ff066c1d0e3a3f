import { expect, it } from 'vitest';
import {
  KVM_CAP,
  KVM_HC_MAP_GPA_RANGE,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  TDVMCALL,
  TDVMCALL_STATUS,
} from '../../src/kvm/constants.js';
import type { KvmSystem, KvmVcpu } from '../../src/kvm/index.js';
import { initParams } from '../kernel/launch.js';
import { describeOnRunningTds } from './backends.js';
import {
  ANSWER,
  accept,
  answerOf,
  load,
  NO_MEMORY,
  out,
  SHARED,
  SHARED_WINDOW,
  SPIN,
  slotOf,
  store,
  type TinyTdOptions,
  TOUCH_NO_MEMORY,
  tinyTd,
  vmcall,
} from './tiny-td.js';

const [IO, RDMSR, WRMSR, MMIO] = [30, 31, 32, 48];
const { INVALID_OPERAND, ALIGN_ERROR, SUBFUNC_UNSUPPORTED } = TDVMCALL_STATUS;
const MIB = 1n << 20n;
const leaf = (call: keyof typeof TDVMCALL): number => Number(TDVMCALL[call]);

/** A TD that makes one TDG.VP.VMCALL and tells what came of it. */
const caller = (system: KvmSystem, call: readonly number[], options?: TinyTdOptions): KvmVcpu =>
  tinyTd(system, [...call, ...ANSWER], options).vcpu;

const u64Bytes = (value: bigint): Uint8Array => {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
};

describeOnRunningTds('port I/O of a TD', (use) => {
  it.each([1, 2, 4])('of %i bytes is written and read, with an empty bus where nobody answers', async (size) => {
    const written = caller(use(), vmcall(IO, BigInt(size), 1n, 0x80n, 0x8877_6655_4433_2211n));
    const data = u64Bytes(0x4433_2211n).subarray(0, size);
    expect(await written.run()).toEqual({ reason: 'io', direction: 'out', size, port: 0x80, count: 1, data });
    expect(answerOf(await written.run())).toMatchObject({ r10: 0n });
    const read = vmcall(IO, BigInt(size), 0n, 0x81n, 0n);
    const exit = { reason: 'io', direction: 'in', size, port: 0x81, count: 1 };
    const answered = caller(use(), read);
    expect(await answered.run()).toMatchObject(exit);
    expect(answerOf(await answered.run({ reply: { data } }))).toMatchObject({
      r10: 0n,
      r11: BigInt.asUintN(8 * size, 0x4433_2211n),
    });
    const empty = caller(use(), read);
    expect(await empty.run()).toMatchObject(exit);
    expect(answerOf(await empty.run())).toMatchObject({ r10: 0n, r11: (1n << BigInt(8 * size)) - 1n });
  });

  it.each([
    ['three bytes', [3n, 1n, 0x80n, 0n]],
    ['eight bytes', [8n, 1n, 0x80n, 0n]],
    ['neither read nor write', [1n, 2n, 0x80n, 0n]],
  ])('of %s is INVALID_OPERAND, in the kernel', async (_, operands) => {
    const vcpu = caller(use(), vmcall(IO, ...operands));
    expect(answerOf(await vcpu.run())).toMatchObject({ r10: INVALID_OPERAND });
  });

  it('takes a reply of the exit’s length only, and the right one after a wrong one', async () => {
    const vcpu = caller(use(), vmcall(IO, 2n, 0n, 0x81n, 0n));
    await vcpu.run();
    await expect(vcpu.run({ reply: { data: new Uint8Array(1) } })).rejects.toThrow(RangeError);
    await expect(vcpu.run({ reply: { ret: 1n } })).rejects.toThrow(TypeError);
    expect(answerOf(await vcpu.run({ reply: { data: Uint8Array.of(1, 2) } }))).toMatchObject({ r11: 0x201n });
  });
});

describeOnRunningTds('MMIO of a TD', (use) => {
  it.each([1, 2, 4, 8])('of %i bytes is KVM_EXIT_MMIO, at the address without the shared bit', async (size) => {
    const address = SHARED | 0xfed0_0000n;
    const value = 0x8877_6655_4433_2211n;
    const data = u64Bytes(value).subarray(0, size);
    const written = caller(use(), vmcall(MMIO, BigInt(size), 1n, address, value));
    expect(await written.run()).toEqual({ reason: 'mmio', gpa: 0xfed0_0000n, isWrite: true, data });
    expect(answerOf(await written.run())).toMatchObject({ r10: 0n });
    const read = caller(use(), vmcall(MMIO, BigInt(size), 0n, address, 0n));
    const wanted = { reason: 'mmio', gpa: 0xfed0_0000n, isWrite: false, data: new Uint8Array(size) };
    expect(await read.run()).toEqual(wanted);
    const answer = answerOf(await read.run({ reply: { data } }));
    expect(answer).toMatchObject({ r10: 0n, r11: BigInt.asUintN(8 * size, value) });
  });

  it('that nobody answers reads an empty bus', async () => {
    const vcpu = caller(use(), vmcall(MMIO, 4n, 0n, SHARED | 0xfed0_0000n, 0n));
    await vcpu.run();
    expect(answerOf(await vcpu.run())).toMatchObject({ r10: 0n, r11: 0xffff_ffffn });
  });

  it.each([
    ['at a private address', [4n, 0n, 0xfed0_0000n, 0n]],
    ['of three bytes', [3n, 0n, SHARED | 0xfed0_0000n, 0n]],
  ])('%s is INVALID_OPERAND, in the kernel', async (_, operands) => {
    const vcpu = caller(use(), vmcall(MMIO, ...operands));
    expect(answerOf(await vcpu.run())).toMatchObject({ r10: INVALID_OPERAND });
  });
});

describeOnRunningTds('MapGPA of a TD', (use) => {
  const MAP_GPA = leaf('MAP_GPA');
  const piece = (gpa: bigint, pages: bigint, attributes = 0n) => ({
    reason: 'hypercall',
    nr: KVM_HC_MAP_GPA_RANGE,
    args: [gpa, pages, attributes, 0n, 0n, 0n],
    flags: 1n,
  });

  it('is KVM_HC_MAP_GPA_RANGE in pieces of 2 MiB, without the shared bit, until the range is done', async () => {
    const vcpu = caller(use(), vmcall(MAP_GPA, SHARED | (4n * MIB), 5n * MIB));
    expect(await vcpu.run()).toEqual(piece(4n * MIB, 512n));
    expect(await vcpu.run({ reply: { ret: 0n } })).toEqual(piece(6n * MIB, 512n));
    expect(await vcpu.run()).toEqual(piece(8n * MIB, 256n));
    expect(answerOf(await vcpu.run())).toMatchObject({ r10: 0n });
  });

  it('says so where the range becomes private', async () => {
    expect(await caller(use(), vmcall(MAP_GPA, 0n, 4096n)).run()).toEqual(piece(0n, 1n, 0x10n));
  });

  it('ends where user space refuses: INVALID_OPERAND, R11 the address of the piece', async () => {
    const vcpu = caller(use(), vmcall(MAP_GPA, SHARED, 5n * MIB));
    await vcpu.run();
    await vcpu.run();
    const answer = answerOf(await vcpu.run({ reply: { ret: 22n } }));
    expect(answer).toMatchObject({ r10: INVALID_OPERAND, r11: SHARED | (2n * MIB) });
  });

  it.each([
    ['an empty range', SHARED, 0n, INVALID_OPERAND],
    ['a range half private, half shared', SHARED - 4096n, 8192n, INVALID_OPERAND],
    ['an address inside a page', SHARED | 1n, 4096n, ALIGN_ERROR],
    ['part of a page', SHARED, 4095n, ALIGN_ERROR],
  ])('refuses %s, in the kernel', async (_, gpa, size, r10) => {
    expect(answerOf(await caller(use(), vmcall(MAP_GPA, gpa, size)).run())).toMatchObject({ r10, r11: gpa });
  });

  it('is unsupported while KVM_CAP_EXIT_HYPERCALL is not enabled, and never reaches user space', async () => {
    const vcpu = caller(use(), vmcall(MAP_GPA, SHARED, 4096n), { exitHypercall: 0n });
    expect(answerOf(await vcpu.run())).toMatchObject({ r10: SUBFUNC_UNSUPPORTED });
  });
});

describeOnRunningTds('what a TD asks user space for', (use) => {
  it('GetQuote: the buffer without its shared bit; unsupported unless the reply says otherwise', async () => {
    const call = vmcall(leaf('GET_QUOTE'), SHARED | 0x8000n, 0x2000n);
    const exit = { reason: 'tdx', nr: 0x10002n, flags: 0n, call: 'get-quote', gpa: 0x8000n, size: 0x2000n };
    for (const [reply, r10] of [
      [undefined, SUBFUNC_UNSUPPORTED],
      [{ ret: 0n }, 0n],
    ] as const) {
      const vcpu = caller(use(), call);
      expect(await vcpu.run()).toEqual(exit);
      expect(answerOf(await vcpu.run(reply && { reply }))).toMatchObject({ r10 });
    }
  });

  it('GetTdVmCallInfo 1: the registers of the reply; success and nothing without one', async () => {
    const call = vmcall(leaf('GET_TD_VM_CALL_INFO'), 1n, 77n, 78n);
    const exit = { reason: 'tdx', nr: 0x10000n, flags: 0n, call: 'get-td-vm-call-info', leaf: 1n };
    const tdVmCallInfo = { r11: 2n, r12: 3n, r13: 4n, r14: 5n };
    for (const [reply, answer] of [
      [undefined, { r10: 0n, r11: 0n, r12: 0n, r13: 0n, r14: 0n }],
      [{ tdVmCallInfo }, { r10: 0n, ...tdVmCallInfo }],
      [{ ret: SUBFUNC_UNSUPPORTED }, { r10: SUBFUNC_UNSUPPORTED }],
    ] as const) {
      const vcpu = caller(use(), call);
      expect(await vcpu.run()).toEqual(exit);
      expect(answerOf(await vcpu.run(reply && { reply }))).toMatchObject(answer);
    }
  });

  it('SetupEventNotifyInterrupt: the vector; unsupported unless the reply says otherwise', async () => {
    const call = vmcall(leaf('SETUP_EVENT_NOTIFY_INTERRUPT'), 0x30n);
    const exit = { reason: 'tdx', nr: 0x10004n, flags: 0n, call: 'setup-event-notify-interrupt', vector: 0x30n };
    for (const [reply, r10] of [
      [undefined, SUBFUNC_UNSUPPORTED],
      [{ ret: 0n }, 0n],
    ] as const) {
      const vcpu = caller(use(), call);
      expect(await vcpu.run()).toEqual(exit);
      expect(answerOf(await vcpu.run(reply && { reply }))).toMatchObject({ r10 });
    }
  });

  it.each<[string, number, bigint[], bigint]>([
    ['GetQuote with a private buffer', leaf('GET_QUOTE'), [0x8000n, 4096n], INVALID_OPERAND],
    ['vector 31 for notifications', leaf('SETUP_EVENT_NOTIFY_INTERRUPT'), [31n], INVALID_OPERAND],
    ['vector 256 for notifications', leaf('SETUP_EVENT_NOTIFY_INTERRUPT'), [256n], INVALID_OPERAND],
    ['GetTdVmCallInfo 2', leaf('GET_TD_VM_CALL_INFO'), [2n], INVALID_OPERAND],
    ['GetTdVmCallInfo 0, which means nothing but the base calls', leaf('GET_TD_VM_CALL_INFO'), [0n], 0n],
    ['a call that nobody knows', 0x1_0005, [], SUBFUNC_UNSUPPORTED],
  ])('%s is answered in the kernel', async (_, call, operands, r10) => {
    expect(answerOf(await caller(use(), vmcall(call, ...operands)).run())).toMatchObject({ r10 });
  });

  it('takes no reply that belongs to another exit', async () => {
    const vcpu = caller(use(), vmcall(leaf('GET_QUOTE'), SHARED, 4096n));
    await vcpu.run();
    const tdVmCallInfo = { r11: 0n, r12: 0n, r13: 0n, r14: 0n };
    for (const reply of [{ data: new Uint8Array(1) }, { tdVmCallInfo }, { msr: { error: true } }])
      await expect(vcpu.run({ reply })).rejects.toThrow(TypeError);
    expect(answerOf(await vcpu.run({ reply: { ret: 0n } }))).toMatchObject({ r10: 0n });
  });
});

describeOnRunningTds('model-specific registers of a TD', (use) => {
  const KVM_REFUSES = 1;
  const MSR = 0x1234_5678n;
  const askUser = {
    prepare: (vm) => vm.enableCap(KVM_CAP.X86_USER_SPACE_MSR, [BigInt(KVM_REFUSES)]),
  } as TinyTdOptions;

  it('that KVM does not know are refused in the kernel', async () => {
    expect(answerOf(await caller(use(), vmcall(RDMSR, MSR)).run())).toMatchObject({ r10: INVALID_OPERAND });
    expect(answerOf(await caller(use(), vmcall(WRMSR, MSR, 1n)).run())).toMatchObject({ r10: INVALID_OPERAND });
  });

  it('are KVM_EXIT_X86_RDMSR and WRMSR with KVM_CAP_X86_USER_SPACE_MSR; without a reply they are refused', async () => {
    const read = { reason: 'x86-rdmsr', index: Number(MSR), why: KVM_REFUSES };
    const write = { reason: 'x86-wrmsr', index: Number(MSR), why: KVM_REFUSES, data: 0x99n };
    for (const [call, exit] of [
      [vmcall(RDMSR, MSR), read],
      [vmcall(WRMSR, MSR, 0x99n), write],
    ] as const) {
      const refused = caller(use(), call, askUser);
      expect(await refused.run()).toEqual(exit);
      expect(answerOf(await refused.run())).toMatchObject({ r10: INVALID_OPERAND });
      const done = caller(use(), call, askUser);
      expect(await done.run()).toEqual(exit);
      const answer = answerOf(await done.run({ reply: { msr: { error: false, data: 0x1122_3344_5566_7788n } } }));
      expect(answer).toMatchObject({ r10: 0n, ...(exit === read && { r11: 0x1122_3344_5566_7788n }) });
    }
  });
});

describeOnRunningTds('memory that a running TD asks for', (use) => {
  const withSlot = (code: readonly number[], gpa: bigint) => {
    const td = tinyTd(use(), code);
    return { ...td, memory: slotOf(use(), td.vm, 1, gpa, 4096) };
  };
  const fault = (gpa: bigint, isPrivate: boolean) => ({
    ...{ reason: 'memory-fault', isPrivate, flags: isPrivate ? 8n : 0n, gpa, size: 4096n },
  });

  it('private, but not marked so: a memory fault, until the attribute is set; then it can be accepted and used', async () => {
    const code = [...accept(NO_MEMORY), ...store(NO_MEMORY, 0x5a), ...load(NO_MEMORY), ...out(0x50), ...SPIN];
    const { vm, vcpu } = withSlot(code, NO_MEMORY);
    for (let i = 0; i < 2; i++) expect(await vcpu.run()).toEqual(fault(NO_MEMORY, true));
    vm.setMemoryAttributes(NO_MEMORY, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expect(await vcpu.run()).toMatchObject({ reason: 'io', port: 0x50, data: Uint8Array.of(0x5a) });
  });

  it('private, before it has accepted it: KVM_RUN is EIO, and so is everything afterwards', async () => {
    const { vm, vcpu } = withSlot([...TOUCH_NO_MEMORY, ...SPIN], NO_MEMORY);
    vm.setMemoryAttributes(NO_MEMORY, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    const dead = { name: 'KvmError', code: 'EIO', request: 'KVM_RUN' };
    await expect(vcpu.run()).rejects.toMatchObject(dead);
    await expect(vcpu.run()).rejects.toMatchObject(dead);
    expect(() => vm.checkExtension(KVM_CAP.MAX_VCPUS)).toThrow(expect.objectContaining({ code: 'EIO' }));
    expect(() => vm.tdx.initVm(initParams())).toThrow(expect.objectContaining({ code: 'EIO' }));
  });

  it('shared: what the slot maps, in both directions', async () => {
    const code = [...load(SHARED_WINDOW), ...out(0x50), ...store(SHARED_WINDOW, 0x5a), ...out(0x51, 0), ...SPIN];
    const { vcpu, memory } = withSlot(code, SHARED_WINDOW);
    memory.write(0, Uint8Array.of(0xa5));
    expect(await vcpu.run()).toMatchObject({ reason: 'io', port: 0x50, data: Uint8Array.of(0xa5) });
    expect(await vcpu.run()).toMatchObject({ reason: 'io', port: 0x51 });
    expect(memory.read(0, 1)).toEqual(Uint8Array.of(0x5a));
  });

  it('shared, but marked private: a memory fault without the flag of a private access', async () => {
    const { vm, vcpu } = withSlot([...load(SHARED_WINDOW), ...out(0x50), ...SPIN], SHARED_WINDOW);
    vm.setMemoryAttributes(SHARED_WINDOW, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expect(await vcpu.run()).toEqual(fault(SHARED_WINDOW, false));
    vm.setMemoryAttributes(SHARED_WINDOW, 4096n, 0n);
    expect(await vcpu.run()).toMatchObject({ reason: 'io', port: 0x50 });
  });

  it('shared, where no slot is: a #VE, which a guest without handlers does not survive', async () => {
    const { vcpu } = tinyTd(use(), [...load(SHARED_WINDOW), ...SPIN]);
    expect(await vcpu.run()).toEqual({ reason: 'shutdown' });
  });
});
