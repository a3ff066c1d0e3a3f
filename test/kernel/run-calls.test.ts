import { afterEach, describe, expect, it } from 'vitest';
import { KVM_HC_MAP_GPA_RANGE, TDVMCALL, TDVMCALL_STATUS } from '../../src/kvm/constants.js';
import type { VpEnterResult } from '../../src/mock/module/seamcall.js';
import { type Guest, type Scripted, type ScriptOptions, SHARED, scriptedTd, vmcall } from './scripted-guest.js';

let td: Scripted | undefined;
afterEach(() => td?.close());

const run = (guest: Guest, options?: ScriptOptions) => {
  td = scriptedTd(guest, options);
  return td.vcpu;
};
const call = (leaf: bigint, registers: Partial<VpEnterResult> = {}) => vmcall(Number(leaf), registers);

const MIB = 1n << 20n;
const mapGpa = (gpa: bigint, size: bigint) => call(TDVMCALL.MAP_GPA, { r12: gpa, r13: size });
const ended = { reason: 'shutdown' };

describe('TDG.VP.VMCALL<MMIO> of a TD', () => {
  it('ends KVM_RUN with KVM_EXIT_MMIO at the address without its shared bit, for a write with what was written', async () => {
    const vcpu = run(function* () {
      const { r10 } = yield vmcall(48, { r12: 8n, r13: 1n, r14: SHARED | 0xfec0_0000n, r15: 0x8877_6655_4433_2211n });
      expect(r10).toBe(0n);
    });
    const data = Uint8Array.of(0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88);
    expect(await vcpu.run()).toEqual({ reason: 'mmio', gpa: 0xfec0_0000n, isWrite: true, data });
    expect(await vcpu.run()).toEqual(ended);
  });

  it('gives the reply to a read in R11, or an empty bus', async () => {
    const read = vmcall(48, { r12: 4n, r14: SHARED | 0xfed0_0004n });
    const vcpu = run(function* () {
      expect((yield read).r11).toBe(0x0403_0201n);
      expect((yield read).r11).toBe(0xffff_ffffn);
    });
    const exit = { reason: 'mmio', gpa: 0xfed0_0004n, isWrite: false, data: new Uint8Array(4) };
    expect(await vcpu.run()).toEqual(exit);
    expect(await vcpu.run({ reply: { data: Uint8Array.of(1, 2, 3, 4) } })).toEqual(exit);
    expect(await vcpu.run()).toEqual(ended);
  });

  it.each([
    ['a private address', { r12: 4n, r14: 0xfec0_0000n }],
    ['an access whose last byte is private', { r12: 4n, r14: 2n * SHARED - 2n }],
    ['three bytes', { r12: 3n, r14: SHARED }],
    ['neither read nor write', { r12: 4n, r13: 2n, r14: SHARED }],
  ])('refuses %s with TDVMCALL_STATUS_INVALID_OPERAND', async (_, registers) => {
    const vcpu = run(function* () {
      expect((yield vmcall(48, registers)).r10).toBe(TDVMCALL_STATUS.INVALID_OPERAND);
    });
    expect(await vcpu.run()).toEqual(ended);
  });
});

describe('MapGPA', () => {
  it('asks user space in pieces of 2 MiB, addresses without the shared bit, until the whole range is converted', async () => {
    const vcpu = run(function* () {
      const { r10 } = yield mapGpa(SHARED | (4n * MIB), 5n * MIB);
      expect(r10).toBe(0n);
    });
    const piece = (mib: bigint, pages: bigint) => ({
      reason: 'hypercall',
      nr: KVM_HC_MAP_GPA_RANGE,
      args: [mib * MIB, pages, 0n, 0n, 0n, 0n],
      flags: 1n,
    });
    expect(await vcpu.run()).toEqual(piece(4n, 512n));
    expect(await vcpu.run({ reply: { ret: 0n } })).toEqual(piece(6n, 512n));
    expect(await vcpu.run()).toEqual(piece(8n, 256n));
    expect(await vcpu.run()).toEqual(ended);
  });

  it('names the encrypted attribute for private addresses', async () => {
    const vcpu = run(function* () {
      yield mapGpa(0n, 4096n);
    });
    expect(await vcpu.run()).toMatchObject({ args: [0n, 1n, 0x10n, 0n, 0n, 0n] });
  });

  it('stops where user space refuses: INVALID_OPERAND, and R11 says which piece', async () => {
    const vcpu = run(function* () {
      const { r10, r11 } = yield mapGpa(SHARED, 5n * MIB);
      expect([r10, r11]).toEqual([TDVMCALL_STATUS.INVALID_OPERAND, SHARED | (2n * MIB)]);
    });
    await vcpu.run();
    await vcpu.run();
    expect(await vcpu.run({ reply: { ret: 22n } })).toEqual(ended);
  });

  it('gives the guest its interrupts between pieces: RETRY, and R11 says from where', async () => {
    const ICR = 0x30;
    const NMI_SELF = 0x0004_0400n;
    const vcpu = run(function* () {
      const first = yield mapGpa(SHARED, 5n * MIB);
      expect([first.r10, first.r11]).toEqual([TDVMCALL_STATUS.RETRY, SHARED | (2n * MIB)]);
      expect((yield mapGpa(first.r11!, 3n * MIB)).r10).toBe(0n);
    });
    await vcpu.run();
    // An NMI comes while user space converts the first piece.
    td!.kernel(0).apic.write(ICR, NMI_SELF);
    expect(await vcpu.run()).toMatchObject({ args: [2n * MIB, 512n, 0n, 0n, 0n, 0n] });
    expect(await vcpu.run()).toMatchObject({ args: [4n * MIB, 256n, 0n, 0n, 0n, 0n] });
    expect(await vcpu.run()).toEqual(ended);
  });

  it('completes a piece and asks for the next one also when a signal waits', async () => {
    const vcpu = run(function* () {
      yield mapGpa(SHARED, 4n * MIB);
    });
    await vcpu.run();
    const abort = new AbortController();
    const next = vcpu.run({ signal: abort.signal });
    abort.abort();
    expect(await next).toMatchObject({ args: [2n * MIB, 512n, 0n, 0n, 0n, 0n] });
  });

  it.each([
    ['an empty range', SHARED, 0n, 'INVALID_OPERAND'],
    ['a range that wraps', SHARED, (1n << 64n) - 4096n, 'INVALID_OPERAND'],
    ['an address beyond the MAXPHYADDR of the vCPU', 1n << 52n, 4096n, 'INVALID_OPERAND'],
    ['a range that is private at its start and shared at its end', SHARED - 4096n, 8192n, 'INVALID_OPERAND'],
    ['an address inside a page', SHARED | 1n, 4096n, 'ALIGN_ERROR'],
    ['part of a page', SHARED, 4095n, 'ALIGN_ERROR'],
  ] as const)('refuses %s, with the address in R11', async (_, gpa, size, status) => {
    const vcpu = run(function* () {
      const { r10, r11 } = yield mapGpa(gpa, size);
      expect([r10, r11]).toEqual([TDVMCALL_STATUS[status], gpa]);
    });
    expect(await vcpu.run()).toEqual(ended);
  });

  it('is unsupported while KVM_CAP_EXIT_HYPERCALL is not enabled', async () => {
    const vcpu = run(
      function* () {
        const { r10, r11 } = yield mapGpa(SHARED, 4096n);
        expect([r10, r11]).toEqual([TDVMCALL_STATUS.SUBFUNC_UNSUPPORTED, SHARED]);
      },
      { exitHypercall: false },
    );
    expect(await vcpu.run()).toEqual(ended);
  });
});

describe('calls that user space answers', () => {
  it('GetQuote: the buffer without its shared bit; unsupported unless the reply says otherwise', async () => {
    const quote = call(TDVMCALL.GET_QUOTE, { r12: SHARED | 0x8000n, r13: 0x2000n });
    const vcpu = run(function* () {
      expect((yield quote).r10).toBe(TDVMCALL_STATUS.SUBFUNC_UNSUPPORTED);
      expect((yield quote).r10).toBe(0n);
    });
    const exit = { reason: 'tdx', nr: 0x10002n, flags: 0n, call: 'get-quote', gpa: 0x8000n, size: 0x2000n };
    expect(await vcpu.run()).toEqual(exit);
    expect(await vcpu.run()).toEqual(exit);
    expect(await vcpu.run({ reply: { ret: 0n } })).toEqual(ended);
  });

  it('SetupEventNotifyInterrupt: the vector; unsupported unless the reply says otherwise', async () => {
    const setup = call(TDVMCALL.SETUP_EVENT_NOTIFY_INTERRUPT, { r12: 0x30n });
    const vcpu = run(function* () {
      expect((yield setup).r10).toBe(TDVMCALL_STATUS.SUBFUNC_UNSUPPORTED);
      expect((yield setup).r10).toBe(0n);
    });
    const exit = { reason: 'tdx', nr: 0x10004n, flags: 0n, call: 'setup-event-notify-interrupt', vector: 0x30n };
    expect(await vcpu.run()).toEqual(exit);
    await vcpu.run();
    expect(await vcpu.run({ reply: { ret: 0n } })).toEqual(ended);
  });

  it('GetTdVmCallInfo 1: the registers of the reply, or that there is nothing', async () => {
    const info = call(TDVMCALL.GET_TD_VM_CALL_INFO, { r12: 1n });
    const vcpu = run(function* () {
      expect(yield info).toMatchObject({ r10: 0n, r11: 0n, r12: 0n, r13: 0n, r14: 0n });
      expect(yield info).toMatchObject({ r10: 0n, r11: 2n, r12: 3n, r13: 4n, r14: 5n });
      expect(yield info).toMatchObject({ r10: 9n, r11: 0n });
    });
    const exit = { reason: 'tdx', nr: 0x10000n, flags: 0n, call: 'get-td-vm-call-info', leaf: 1n };
    expect(await vcpu.run()).toEqual(exit);
    expect(await vcpu.run()).toEqual(exit);
    const tdVmCallInfo = { r11: 2n, r12: 3n, r13: 4n, r14: 5n };
    expect(await vcpu.run({ reply: { tdVmCallInfo } })).toEqual(exit);
    expect(await vcpu.run({ reply: { ret: 9n } })).toEqual(ended);
  });

  it('GetTdVmCallInfo 0 is answered in the kernel: nothing beyond the base calls', async () => {
    const vcpu = run(function* () {
      const answer = yield call(TDVMCALL.GET_TD_VM_CALL_INFO, { r13: 7n, r14: 8n });
      expect(answer).toMatchObject({ r10: 0n, r11: 0n, r12: 0n, r13: 0n, r14: 0n });
    });
    expect(await vcpu.run()).toEqual(ended);
  });

  it.each([
    ['GetQuote with a private buffer', TDVMCALL.GET_QUOTE, { r12: 0x8000n }, 'INVALID_OPERAND'],
    [
      'SetupEventNotifyInterrupt with vector 31',
      TDVMCALL.SETUP_EVENT_NOTIFY_INTERRUPT,
      { r12: 31n },
      'INVALID_OPERAND',
    ],
    [
      'SetupEventNotifyInterrupt with vector 256',
      TDVMCALL.SETUP_EVENT_NOTIFY_INTERRUPT,
      { r12: 256n },
      'INVALID_OPERAND',
    ],
    ['GetTdVmCallInfo 2', TDVMCALL.GET_TD_VM_CALL_INFO, { r12: 2n }, 'INVALID_OPERAND'],
    ['a call that KVM does not know', 0x10005n, {}, 'SUBFUNC_UNSUPPORTED'],
    ['VMCALL<INVD>, which KVM does not know', 13n, {}, 'SUBFUNC_UNSUPPORTED'],
  ] as const)('%s is refused in the kernel', async (_, leaf, registers, status) => {
    const vcpu = run(function* () {
      expect((yield call(leaf, registers)).r10).toBe(TDVMCALL_STATUS[status]);
    });
    expect(await vcpu.run()).toEqual(ended);
  });

  it('ReportFatalError: all registers in the order of their encodings, RSP and RBP as zeros', async () => {
    const vcpu = run(function* () {
      yield {
        ...{ status: 77n, rcx: 1n, rdx: 2n, rbx: 3n, rsi: 6n, rdi: 7n, r8: 8n, r9: 9n },
        ...{ r10: 0n, r11: TDVMCALL.REPORT_FATAL_ERROR, r12: 12n, r13: 13n, r14: 14n, r15: 15n },
      };
    });
    expect(await vcpu.run()).toEqual({
      reason: 'system-event',
      type: 7,
      data: [77n, 1n, 2n, 3n, 0n, 0n, 6n, 7n, 8n, 9n, 0n, 0x10003n, 12n, 13n, 14n, 15n],
    });
  });
});

describe("hypercalls of KVM's own (R10 not 0)", () => {
  const hypercall = (nr: bigint, ...[a0 = 0n, a1 = 0n, a2 = 0n, a3 = 0n]: bigint[]) => ({
    ...{ status: 77n, r10: nr, r11: a0, r12: a1, r13: a2, r14: a3 },
  });
  const minus = (error: bigint) => (1n << 64n) - error;

  it('KVM_HC_MAP_GPA_RANGE asks user space, whose ret is the result', async () => {
    const vcpu = run(function* () {
      expect((yield hypercall(12n, 0x10_0000n, 3n, 0x10n)).r10).toBe(5n);
      expect((yield hypercall(12n, 0x10_0001n, 3n, 0x10n)).r10).toBe(minus(22n));
      expect((yield hypercall(12n, 0x10_0000n, 0n, 0x10n)).r10).toBe(minus(22n));
    });
    const args = [0x10_0000n, 3n, 0x10n, 0n, 0n, 0n];
    expect(await vcpu.run()).toEqual({ reason: 'hypercall', nr: 12n, args, flags: 1n });
    expect(await vcpu.run({ reply: { ret: 5n } })).toEqual(ended);
  });

  it('unknown ones, and KVM_HC_MAP_GPA_RANGE where it does not exit, are ENOSYS', async () => {
    const vcpu = run(
      function* () {
        for (const nr of [2n, 12n, 99n]) expect((yield hypercall(nr)).r10).toBe(minus(1000n));
        expect((yield hypercall(1n)).r10).toBe(0n);
        expect((yield hypercall(9n)).r10).toBe(minus(95n));
        expect((yield hypercall(11n)).r10).toBe(0n);
      },
      { exitHypercall: false },
    );
    expect(await vcpu.run()).toEqual(ended);
  });

  it('KVM_HC_SEND_IPI counts the vCPUs that take the interrupt: those whose APIC is enabled', async () => {
    const vcpu = run(function* () {
      expect((yield hypercall(10n, 1n, 0n, 0n, 0x40n)).r10).toBe(0n);
      yield vmcall(32, { r12: 0x80fn, r13: 0x1ffn });
      expect((yield hypercall(10n, 1n, 0n, 0n, 0x40n)).r10).toBe(1n);
      expect((yield hypercall(10n, 1n, 0n, 1n, 0x40n)).r10).toBe(0n);
      expect((yield hypercall(10n, 1n, 0n, 0n, 0x8_0040n)).r10).toBe(minus(22n));
      // The lowest APIC id is a u32: 64 above the last 64 of them is 0, in the second set.
      expect((yield hypercall(10n, 0n, 1n, 0xffff_ffc0n, 0x40n)).r10).toBe(1n);
      expect((yield hypercall(10n, ~0n, 0n, 0xffff_ffc0n, 0x40n)).r10).toBe(0n);
    });
    expect(await vcpu.run()).toEqual(ended);
  });
});
