import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { io, ior, iow, iowr } from '../../src/wire/layout/ioctl.js';
import * as plain from '../../src/wire/layout/plain.js';
import * as state from '../../src/wire/layout/state.js';
import { kvmEnableCap } from '../../src/wire/layout/vm.js';
import { WireServer } from '../../src/wire/server.js';
import { ARGUMENT, type Descriptor, TestThread } from './client.js';
import { buildTd, REQUEST, type WireTd } from './td.js';

const errno = {
  EPERM: 1,
  ENOENT: 2,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EFAULT: 14,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOTTY: 25,
};
const { EPERM, ENOENT, ENXIO, E2BIG, EBADF, EFAULT, EEXIST, ENODEV, EINVAL, ENOTTY } = errno;

let server: WireServer;
let thread: TestThread;
let td: WireTd;

beforeAll(async () => {
  server = await WireServer.listen(new MockHost(loadProfile('spr-1.5.05')));
  thread = await TestThread.start(server.path);
  td = await buildTd(thread);
});
afterAll(() => server.close());

const struct = async (object: Descriptor, request: number, bytes: Uint8Array): Promise<number> =>
  (await thread.struct(object, request, bytes)).result;

/** A request that writes to ARGUMENT and brings nothing along. */
const output = (object: Descriptor, request: number) => thread.ioctl(object, request, ARGUMENT);

const msrs = (...entries: [index: number, data: bigint][]): Buffer =>
  Buffer.concat([
    state.kvmMsrs.encode({ nmsrs: entries.length }),
    ...entries.map(([index, data]) => state.kvmMsrEntry.encode({ index, data })),
  ]);

describe("the state of a TD's vCPU is its own: EINVAL", () => {
  it.each([
    ['KVM_GET_REGS', ior(0x81, 144)],
    ['KVM_GET_SREGS', ior(0x83, 312)],
    ['KVM_GET_SREGS2', ior(0xcc, 320)],
    ['KVM_GET_FPU', ior(0x8c, 416)],
    ['KVM_GET_XSAVE', ior(0xa4, 4096)],
    ['KVM_GET_XSAVE2', ior(0xcf, 4096)],
    ['KVM_GET_XCRS', ior(0xa6, 392)],
    ['KVM_GET_DEBUGREGS', ior(0xa1, 128)],
    ['KVM_GET_LAPIC', ior(0x8e, 1024)],
  ])('%s', async (_, request) => {
    expect(await output(td.vcpu, request)).toMatchObject({ result: -EINVAL, writes: [] });
  });

  it.each([
    ['KVM_SET_REGS', iow(0x82, 144), 144],
    ['KVM_SET_SREGS', iow(0x84, 312), 312],
    ['KVM_SET_FPU', iow(0x8d, 416), 416],
    ['KVM_SET_XSAVE', iow(0xa5, 4096), 4096],
    ['KVM_SET_XCRS', iow(0xa7, 392), 392],
    ['KVM_SET_DEBUGREGS', iow(0xa2, 128), 128],
    ['KVM_SET_LAPIC', iow(0x8f, 1024), 1024],
    ['KVM_SET_GUEST_DEBUG', iow(0x9b, 72), 72],
  ])('%s, and EFAULT before that where there is no structure', async (_, request, size) => {
    expect(await struct(td.vcpu, request, new Uint8Array(size))).toBe(-EINVAL);
    expect(await struct(td.vcpu, request, new Uint8Array(size - 1))).toBe(-EFAULT);
  });
});

describe("what KVM has of a TD's vCPU all the same", () => {
  it('its events: none', async () => {
    const { result, writes } = await output(td.vcpu, ior(0x9f, 64));
    expect(result).toBe(0);
    expect(state.kvmVcpuEvents.decode(writes[0]!.bytes)).toMatchObject({ flags: 13, exception: { injected: 0 } });
    expect(await struct(td.vcpu, iow(0xa0, 64), state.kvmVcpuEvents.encode({ flags: 0x40 }))).toBe(-EINVAL);
  });

  it('mp_state: runnable after KVM_TDX_INIT_VCPU, and no INIT', async () => {
    const { writes } = await output(td.vcpu, ior(0x98, 4));
    expect(state.kvmMpState.decode(writes[0]!.bytes)).toEqual({ mp_state: 0 });
    const set = (mp_state: number) => struct(td.vcpu, iow(0x99, 4), state.kvmMpState.encode({ mp_state }));
    expect([await set(0), await set(3), await set(2), await set(4), await set(5)]).toEqual([
      0,
      0,
      -EINVAL,
      -EINVAL,
      -EINVAL,
    ]);
    expect(await set(0)).toBe(0);
  });

  it('MSRs up to the first that KVM does not emulate for a TD', async () => {
    const asked = msrs([0x1b, 0n], [0xc000_0080, 0n], [0xc000_0081, 0n], [0x277, 0n]);
    const { result, bytes } = await thread.struct(td.vcpu, iowr(0x88, 8), asked);
    expect(result).toBe(2);
    expect(state.kvmMsrEntry.decode(bytes.subarray(8))).toMatchObject({ index: 0x1b, data: 0xfee0_0d00n });
    expect(await struct(td.vcpu, iow(0x89, 8), msrs([0x277, 0x0007_0406_0007_0406n], [0xc000_0080, 0n]))).toBe(1);
    expect(await struct(td.vcpu, iowr(0x88, 8), state.kvmMsrs.encode({ nmsrs: 256 }))).toBe(-E2BIG);
    expect(await struct(td.vcpu, iowr(0x88, 8), state.kvmMsrs.encode({ nmsrs: 1 }))).toBe(-EFAULT);
  });

  it('MSRs that user space sets as the guest cannot', async () => {
    const setAndGet = async (index: number, data: bigint): Promise<bigint> => {
      expect(await struct(td.vcpu, iow(0x89, 8), msrs([index, data]))).toBe(1);
      const { bytes } = await thread.struct(td.vcpu, iowr(0x88, 8), msrs([index, 0n]));
      return state.kvmMsrEntry.decode(bytes.subarray(8)).data;
    };
    const [MISC_ENABLE, UCODE_REV, PLATFORM_INFO, MC0_STATUS] = [0x1a0, 0x8b, 0xce, 0x401];
    // Bits 11 and 12, PEBS and BTS, are read-only to the guest.
    expect(await setAndGet(MISC_ENABLE, 5n)).toBe(5n);
    expect(await setAndGet(UCODE_REV, 0x1_0000_0000n)).toBe(0x1_0000_0000n);
    expect(await setAndGet(PLATFORM_INFO, 0n)).toBe(0n);
    expect(await setAndGet(MC0_STATUS, 1n)).toBe(1n);
  });

  it('MSRs that only user space has, and that have no bit to set', async () => {
    const [MCG_CTL, MCG_EXT_CTL, MC0_CTL2] = [0x17b, 0x4d0, 0x280];
    const all = [MCG_CTL, MCG_EXT_CTL, MC0_CTL2].map((index) => [index, 0n] as [number, bigint]);
    expect(await struct(td.vcpu, iow(0x89, 8), msrs(...all))).toBe(3);
    expect(await struct(td.vcpu, iowr(0x88, 8), msrs(...all))).toBe(3);
    for (const index of [MCG_CTL, MC0_CTL2]) expect(await struct(td.vcpu, iow(0x89, 8), msrs([index, 1n]))).toBe(0);
    expect(await struct(td.vcpu, iow(0x89, 8), msrs([MCG_EXT_CTL, 2n]))).toBe(0);
  });

  it('machine checks within KVM_X86_GET_MCE_CAP_SUPPORTED', async () => {
    const { writes } = await output(td.kvm, ior(0x9d, 8));
    const supported = writes[0]!.bytes.readBigUInt64LE();
    const setup = (value: bigint) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(value);
      return struct(td.vcpu, iow(0x9c, 8), bytes);
    };
    expect([await setup(supported | 10n), await setup(10n | (1n << 40n)), await setup(0n), await setup(33n)]).toEqual([
      0,
      -EINVAL,
      -EINVAL,
      -EINVAL,
    ]);
  });

  it('machine-check MSRs as KVM_X86_SETUP_MCE allows them', async () => {
    const [MCG_CAP, MCG_CTL, MCG_EXT_CTL, FEAT_CTL, MC9_CTL, MC10_CTL] = [0x179, 0x17b, 0x4d0, 0x3a, 0x424, 0x428];
    const read = async (index: number): Promise<bigint | undefined> => {
      const { result, bytes } = await thread.struct(td.vcpu, iowr(0x88, 8), msrs([index, 0n]));
      return result === 1 ? state.kvmMsrEntry.decode(bytes.subarray(8)).data : undefined;
    };
    // Ten banks, MCG_CTL, recovery by software, and local machine checks, as QEMU asks for.
    const cap = Buffer.alloc(8);
    cap.writeBigUInt64LE(0x900_010an);
    expect(await struct(td.vcpu, iow(0x9c, 8), cap)).toBe(0);
    expect(await read(MCG_CAP)).toBe(0x900_010an);
    expect(await read(MCG_CTL)).toBe((1n << 64n) - 1n);
    expect(await read(MC9_CTL)).toBe((1n << 64n) - 1n);
    expect(await read(MC10_CTL)).toBe(undefined);
    // Locked, local machine checks enabled.
    expect(await read(FEAT_CTL)).toBe(0x10_0001n);
    expect(await struct(td.vcpu, iow(0x89, 8), msrs([MCG_EXT_CTL, 1n], [MCG_CTL, 0n], [MCG_CTL, 1n]))).toBe(2);
  });

  it.each([
    ['KVM_NMI', io(0x9a), 0],
    ['KVM_SMI, for there is no SMM', io(0xb7), -ENOTTY],
    ['KVM_KVMCLOCK_CTRL, for there is no kvmclock', io(0xad), -EINVAL],
  ])('%s', async (_, request, result) => {
    expect((await thread.ioctl(td.vcpu, request)).result).toBe(result);
  });

  it('a signal mask of eight bytes', async () => {
    const mask = (len: number) => Buffer.concat([state.kvmSignalMask.encode({ len }), Buffer.alloc(8)]);
    expect(await struct(td.vcpu, iow(0x8b, 4), mask(8))).toBe(0);
    expect(await struct(td.vcpu, iow(0x8b, 4), mask(128))).toBe(-EINVAL);
    expect((await thread.ioctl(td.vcpu, iow(0x8b, 4), 0n)).result).toBe(0);
  });

  it('an empty nested state, which says how long it is', async () => {
    const small = await thread.struct(td.vcpu, iowr(0xbe, 128), state.kvmNestedState.encode({ size: 8 }));
    expect(small.result).toBe(-E2BIG);
    expect(state.kvmNestedState.decode(small.bytes).size).toBe(128);
    const whole = await thread.struct(td.vcpu, iowr(0xbe, 128), state.kvmNestedState.encode({ size: 128 }));
    expect(whole.result).toBe(0);
    expect(await struct(td.vcpu, iow(0xbf, 128), whole.bytes)).toBe(0);
    expect(await struct(td.vcpu, iow(0xbf, 128), state.kvmNestedState.encode({ size: 128 }))).toBe(-EINVAL);
  });

  it('the TSC offset as a device attribute, and no other', async () => {
    const attr = (fields: object) => plain.kvmDeviceAttr.encode({ addr: 0x6000_0000n, ...fields });
    expect(await struct(td.vcpu, iow(0xe3, 24), attr({}))).toBe(0);
    expect(await struct(td.vcpu, iow(0xe3, 24), attr({ attr: 1n }))).toBe(-ENXIO);
    expect(await struct(td.vcpu, iow(0xe1, 24), attr({}))).toBe(-EFAULT);
  });

  it('nothing to fault in before KVM_TDX_FINALIZE_VM: EOPNOTSUPP, with the range as it was', async () => {
    const range = { gpa: 0x10_0000n, size: 0x1000n };
    const answer = await thread.struct(td.vcpu, iowr(0xd5, 64), state.kvmPreFaultMemory.encode(range));
    expect(answer.result).toBe(-95);
    expect(state.kvmPreFaultMemory.decode(answer.bytes)).toMatchObject(range);
    const odd = state.kvmPreFaultMemory.encode({ ...range, size: 1n });
    expect(await struct(td.vcpu, iowr(0xd5, 64), odd)).toBe(-EINVAL);
  });
});

describe('a TD has a split interrupt controller', () => {
  const route = (entry: object) =>
    struct(
      td.vm,
      iow(0x6a, 8),
      Buffer.concat([plain.kvmIrqRouting.encode({ nr: 1 }), plain.kvmIrqRoutingEntry.encode(entry)]),
    );

  it('GSIs lead to MSIs, not to pins', async () => {
    expect(await route({ gsi: 5, type: 2, address_lo: 0xfee0_0000, data: 0x41 })).toBe(0);
    expect(await route({ gsi: 5, type: 1, irqchip: 2, pin: 5 })).toBe(-EINVAL);
    expect(await route({ gsi: 4096, type: 2 })).toBe(-EINVAL);
    expect(await route({ gsi: 5, type: 2, flags: 2 })).toBe(-EINVAL);
    const many = plain.kvmIrqRouting.encode({ nr: 4097 });
    expect(await struct(td.vm, iow(0x6a, 8), many)).toBe(-EINVAL);
  });

  it('an MSI finds a vCPU by its APIC id, or nobody', async () => {
    const msi = (address_lo: number, flags = 0) =>
      struct(td.vm, iow(0xa5, 32), plain.kvmMsi.encode({ address_lo, data: 0x41, flags }));
    expect(await msi(0xfee0_0000)).toBeGreaterThanOrEqual(0);
    expect(await msi(0xfee0_9000)).toBe(-EPERM);
    expect(await msi(0xfee0_0000, 2)).toBe(-EINVAL);
  });

  it.each([
    ['KVM_CREATE_PIT2', iow(0x77, 64), 64, -ENOENT],
    ['KVM_GET_PIT', iowr(0x65, 72), 72, -ENXIO],
    ['KVM_GET_IRQCHIP', iowr(0x62, 520), 520, -ENXIO],
    ['KVM_SET_IRQCHIP', ior(0x63, 520), 520, -ENXIO],
    ['KVM_REINJECT_CONTROL', io(0x71), 32, -ENXIO],
    ['KVM_IRQ_LINE', iow(0x61, 8), 8, 0],
  ])('%s', async (_, request, size, result) => {
    expect(await struct(td.vm, request, new Uint8Array(size))).toBe(result);
  });

  it('eventfds are checked for what they are', async () => {
    const irqfd = (fields: object) => struct(td.vm, iow(0x76, 32), plain.kvmIrqfd.encode(fields));
    expect(await irqfd({ fd: 1_000_000, gsi: 5 })).toBe(-EBADF);
    expect(await irqfd({ fd: 0, gsi: 5 })).toBe(-EINVAL);
    expect(await irqfd({ fd: 0, gsi: 5, flags: 2 })).toBe(-EINVAL);
    expect(await irqfd({ fd: 0, gsi: 5, flags: 4 })).toBe(-EINVAL);
    const ioeventfd = (fields: object) => struct(td.vm, iow(0x79, 64), plain.kvmIoeventfd.encode(fields));
    expect(await ioeventfd({ len: 3 })).toBe(-EINVAL);
    expect(await ioeventfd({ len: 4, fd: -1 })).toBe(-EBADF);
  });
});

describe('a VM besides', () => {
  it('has a clock that runs, and that can be set', async () => {
    const now = async () => plain.kvmClockData.decode((await output(td.vm, ior(0x7c, 48))).writes[0]!.bytes);
    const first = await now();
    expect(first.flags).toBe(0xe);
    expect((await now()).clock).toBeGreaterThan(first.clock);
    expect(await struct(td.vm, iow(0x7b, 48), plain.kvmClockData.encode({ clock: 1n << 60n }))).toBe(0);
    expect((await now()).clock).toBeGreaterThan(1n << 60n);
    expect(await struct(td.vm, iow(0x7b, 48), plain.kvmClockData.encode({ flags: 1 }))).toBe(-EINVAL);
  });

  it('has no dirty log of private memory', async () => {
    expect(await struct(td.vm, iow(0x42, 16), plain.kvmDirtyLog.encode({ slot: 0 }))).toBe(-ENOENT);
    expect(await struct(td.vm, iow(0x42, 16), plain.kvmDirtyLog.encode({ slot: 1 << 16 }))).toBe(-EINVAL);
    expect(await struct(td.vm, iowr(0xc0, 24), plain.kvmClearDirtyLog.encode({ first_page: 1n }))).toBe(-EINVAL);
  });

  it('has an MSR filter, if it has a range or allows what it does not name', async () => {
    const range = { flags: 3, nmsrs: 64, base: 0x10, bitmap: 0x6000_0000n };
    const filter = (flags: number, ranges: object[], bitmap = true) =>
      thread.struct(
        td.vm,
        iow(0xc6, 392),
        state.kvmMsrFilter.encode({ flags, ranges: ranges as never }),
        bitmap ? [{ address: 0x6000_0000n, bytes: new Uint8Array(8) }] : [],
      );
    expect((await filter(1, [range])).result).toBe(0);
    expect((await filter(0, [])).result).toBe(0);
    expect((await filter(1, [])).result).toBe(-EINVAL);
    expect((await filter(2, [])).result).toBe(-EINVAL);
    expect((await filter(1, [{ ...range, flags: 0 }])).result).toBe(-EINVAL);
    expect((await filter(1, [{ ...range, nmsrs: 12_289 }])).result).toBe(-EINVAL);
    expect((await filter(1, [range], false)).result).toBe(-EFAULT);
  });

  it.each([
    ['KVM_SET_NR_MMU_PAGES of 64', io(0x44), 64n, 0],
    ['KVM_SET_NR_MMU_PAGES of 63', io(0x44), 63n, -EINVAL],
    ['KVM_RESET_DIRTY_RINGS', io(0xc7), 0n, -EINVAL],
  ])('%s', async (_, request, arg, result) => {
    expect((await thread.ioctl(td.vm, request, arg)).result).toBe(result);
  });

  it.each([
    ['KVM_CREATE_DEVICE', iowr(0xe0, 12), 12, -ENODEV],
    ['KVM_MEMORY_ENCRYPT_REG_REGION', ior(0xbb, 16), 16, -ENOTTY],
    ['KVM_REGISTER_COALESCED_MMIO', iow(0x67, 16), 16, 0],
    ['KVM_SET_PMU_EVENT_FILTER', iow(0xb2, 32), 32, 0],
  ])('%s', async (_, request, size, result) => {
    expect(await struct(td.vm, request, new Uint8Array(size))).toBe(result);
  });
});

describe('/dev/kvm besides', () => {
  it.each([
    ['KVM_GET_MSR_INDEX_LIST', iowr(0x02, 4)],
    ['KVM_GET_MSR_FEATURE_INDEX_LIST', iowr(0x0a, 4)],
  ])('%s says how long it is, and then what is in it', async (_, request) => {
    const short = await thread.struct(td.kvm, request, state.kvmMsrList.encode({ nmsrs: 0 }));
    expect(short.result).toBe(-E2BIG);
    const { nmsrs } = state.kvmMsrList.decode(short.bytes);
    const list = await thread.struct(td.kvm, request, Buffer.concat([short.bytes, Buffer.alloc(4 * nmsrs)]));
    expect(list.result).toBe(0);
    const indices = new Uint32Array(
      list.bytes.buffer.slice(list.bytes.byteOffset + 4, list.bytes.byteOffset + 4 + 4 * nmsrs),
    );
    expect(new Set(indices).size).toBe(nmsrs);
    expect(indices).toContain(0x10a);
  });

  it('KVM_GET_MSRS reads feature MSRs', async () => {
    const { result, bytes } = await thread.struct(td.kvm, iowr(0x88, 8), msrs([0xce, 0n], [0x1b, 0n]));
    expect(result).toBe(1);
    expect(state.kvmMsrEntry.decode(bytes.subarray(8)).data).toBe(1n << 31n);
  });

  it('KVM_GET_EMULATED_CPUID gives three leaves, and wants clean padding', async () => {
    const buffer = Buffer.alloc(8 + 40 * 3);
    buffer.writeUInt32LE(3);
    const { result, bytes } = await thread.struct(td.kvm, iowr(0x09, 8), buffer);
    expect([result, bytes.readUInt32LE(8 + 40), bytes.readUInt32LE(8 + 80)]).toEqual([0, 1, 7]);
    buffer[8 + 28] = 1;
    expect(await struct(td.kvm, iowr(0x09, 8), buffer)).toBe(-EINVAL);
  });
});

describe('a plain VM of the model', () => {
  it('keeps what is set', async () => {
    const vm = await thread.make(td.kvm, REQUEST.CREATE_VM, 0n);
    if (typeof vm === 'number') throw new Error('no VM');
    expect((await thread.ioctl(vm, io(0x60))).result).toBe(0);
    expect(await struct(vm, iow(0x77, 64), new Uint8Array(64))).toBe(0);
    expect(await struct(vm, iow(0x77, 64), new Uint8Array(64))).toBe(-EEXIST);
    const vcpu = await thread.make(vm, REQUEST.CREATE_VCPU, 0n);
    if (typeof vcpu === 'number') throw new Error('no vCPU');
    const registers = Buffer.alloc(128, 7);
    expect(await struct(vcpu, iow(0xa2, 128), registers)).toBe(0);
    expect((await output(vcpu, ior(0xa1, 128))).writes[0]!.bytes).toEqual(registers);
    expect(await struct(vcpu, iow(0x89, 8), msrs([0x174, 5n]))).toBe(1);
    const { bytes } = await thread.struct(vcpu, iowr(0x88, 8), msrs([0x174, 0n]));
    expect(state.kvmMsrEntry.decode(bytes.subarray(8)).data).toBe(5n);
    const sregs = (await output(vcpu, ior(0xcc, 320))).writes[0]!.bytes;
    expect(state.kvmSregs2.decode(sregs)).toMatchObject({ apic_base: 0xfee0_0900n, flags: 0n });
    expect(await struct(vcpu, iow(0xcd, 320), sregs)).toBe(0);
    expect(await struct(vcpu, iow(0xa3, 104), kvmEnableCap.encode({ cap: 190, args: [1n] }))).toBe(0);
    vcpu.close();
    vm.close();
  });
});
