import { expect, it } from 'vitest';
import {
  KVM_CAP,
  KVM_MEM_GUEST_MEMFD,
  KVM_MEM_READONLY,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  KVM_X86_TDX_VM,
  PAGE_SIZE,
} from '../../src/kvm/constants.js';
import type { CpuidEntry, KvmSystem, KvmVm, TdxInitVm, TdxMemRegion } from '../../src/kvm/index.js';
import {
  addPages,
  type BuiltTd,
  buildTd,
  createTd,
  entry,
  gpaw,
  initParams,
  refusal,
  TD_GPA,
  vcpuCpuid,
  X2APIC,
} from '../kernel/launch.js';
import { describeOnTdx } from './backends.js';
import { expectErrno, expectState } from './expect-refusal.js';

const newTd = (system: KvmSystem): KvmVm => system.createVm(KVM_X86_TDX_VM);
const withCpuid = (...entries: CpuidEntry[]) => ({ ...initParams(), cpuid: [...initParams().cpuid, ...entries] });
const flagged = (leaf: number, index: number, values: Partial<CpuidEntry> = {}) =>
  entry(leaf, { ...values, index, flags: 1 });

describeOnTdx('a TD that is being configured', (use) => {
  it('differs from a plain VM in what it supports', () => {
    const td = newTd(use());
    expect(td.type).toBe(KVM_X86_TDX_VM);
    expect(td.checkExtension(KVM_CAP.READONLY_MEM)).toBe(0);
    expect(td.checkExtension(KVM_CAP.GUEST_MEMFD)).toBeGreaterThan(0);
    expect(BigInt(td.checkExtension(KVM_CAP.MEMORY_ATTRIBUTES))).toBe(KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expect(td.checkExtension(KVM_CAP.MAX_VCPUS)).toBeLessThanOrEqual(use().checkExtension(KVM_CAP.MAX_VCPUS));
  });

  it('reports its capabilities: attributes, XFAM and CPUID entries, each (leaf, sub-leaf) once, without flags', () => {
    const { supportedAttrs, supportedXfam, cpuid } = newTd(use()).tdx.capabilities();
    expect(supportedAttrs).not.toBe(0n);
    expect(supportedXfam & 3n).toBe(3n);
    expect(cpuid.every(({ flags }) => flags === 0)).toBe(true);
    expect(new Set(cpuid.map((row) => `${row.function}.${row.index}`)).size).toBe(cpuid.length);
    expect(cpuid.find((row) => row.function === 0x8000_0008)!.eax & 0xff_0000).not.toBe(0);
  });

  it.each<[string, string, (params: ReturnType<typeof initParams>) => TdxInitVm]>([
    ['an attribute that is not supported', 'EINVAL', (params) => ({ ...params, attributes: 1n << 62n })],
    ['an XFAM bit that is not supported', 'EINVAL', (params) => ({ ...params, xfam: params.xfam | (1n << 62n) })],
    ['no leaf 0x80000008', 'EINVAL', (params) => ({ ...params, cpuid: [] })],
    ['a GPAW of 50', 'EINVAL', (params) => ({ ...params, cpuid: [entry(0x8000_0008, { eax: 50 << 16 })] })],
    ['a GPAW of 0', 'EINVAL', (params) => ({ ...params, cpuid: [entry(0x8000_0008)] })],
    ['HLE and RTM', 'EINVAL', () => withCpuid(flagged(7, 0, { ebx: (1 << 4) | (1 << 11) }))],
    ['WAITPKG', 'EINVAL', () => withCpuid(flagged(7, 0, { ecx: 1 << 5 }))],
    ['a leaf that nobody configures', 'EINVAL', () => withCpuid(entry(0x4000_0000))],
    ['the same leaf twice', 'EINVAL', () => withCpuid(gpaw(48))],
    ['an unflagged entry of an indexed leaf', 'EINVAL', () => withCpuid(entry(4))],
    [
      'more than 256 entries',
      'E2BIG',
      () => withCpuid(...Array.from({ length: 256 }, (_, index) => flagged(0x4000_0000, index))),
    ],
  ])('KVM_TDX_INIT_VM refuses %s: %s, a check of KVM’s own, and may be tried again', (_, code, wrong) => {
    const td = newTd(use());
    const error = refusal(() => td.tdx.initVm(wrong(initParams())));
    expect(error).toMatchObject({ code, request: 'KVM_TDX_INIT_VM' });
    expect(error.hwError).toBeUndefined();
    td.tdx.initVm(initParams());
  });

  it('KVM_TDX_INIT_VM says which operand the module refused, and may be tried again', () => {
    const td = newTd(use());
    expect(refusal(() => td.tdx.initVm({ ...initParams(), xfam: 0x27n }))).toMatchObject({
      code: 'EINVAL',
      tdxStatus: { name: 'TDX_OPERAND_INVALID', operand: 'XFAM' },
    });
    td.setTscKhz(50_000);
    expect(refusal(() => td.tdx.initVm(initParams()))).toMatchObject({
      code: 'EINVAL',
      hwError: 0xc000_0100_0000_0046n,
    });
    td.setTscKhz(0);
    td.tdx.initVm(initParams());
  });

  it('KVM_TDX_INIT_VM takes a TSC frequency whose units of 25 MHz wrap at 2^16, which the validator therefore refuses', () => {
    const td = newTd(use());
    td.setTscKhz(1_640_400_000);
    td.tdx.initVm(initParams());
  });

  it('KVM_TDX_INIT_VM is done once', () => {
    const td = createTd(use());
    expectErrno('EINVAL', 'KVM_TDX_INIT_VM', () => td.tdx.initVm(initParams()));
  });

  it('answers false to KVM_TDX_TERMINATE_VM on a kernel without it, before and after KVM_TDX_INIT_VM', () => {
    const td = newTd(use());
    expect(td.tdx.terminateVm()).toBe(false);
    td.tdx.initVm(initParams());
    expect(td.tdx.terminateVm()).toBe(false);
  });

  it('splits the irqchip before or after KVM_TDX_INIT_VM', () => {
    const td = newTd(use());
    td.tdx.initVm(initParams());
    td.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
    td.createVcpu(0);
  });

  it('takes another TSC frequency after KVM_TDX_INIT_VM, which the TD never sees', () => {
    const td = createTd(use());
    td.setTscKhz(1_000_000);
    expect(td.getTscKhz()).toBe(1_000_000);
  });

  it('has no read-only memory; a slot with the shared bit is refused once the GPAW is known', () => {
    const td = newTd(use());
    const memory = use().createMemory(PAGE_SIZE);
    const slot = { slot: 0, gpa: 0n, size: PAGE_SIZE, memory };
    const request = 'KVM_SET_USER_MEMORY_REGION';
    expectErrno('EINVAL', request, () => td.setUserMemoryRegion({ ...slot, flags: KVM_MEM_READONLY }));
    const shared = { ...slot, gpa: 1n << 47n };
    td.setUserMemoryRegion(shared);
    td.setUserMemoryRegion({ ...shared, size: 0 });
    td.tdx.initVm(initParams(48));
    expectErrno('EINVAL', request, () => td.setUserMemoryRegion(shared));
  });

  it('has guest_memfds in its slots, whose pages no two slots share', () => {
    const td = createTd(use());
    const memory = use().createMemory(4 * PAGE_SIZE);
    const guestMemfd = td.createGuestMemfd(2 * PAGE_SIZE);
    const request = 'KVM_SET_USER_MEMORY_REGION2';
    const slot = { slot: 0, flags: KVM_MEM_GUEST_MEMFD, gpa: 0n, size: PAGE_SIZE, memory, guestMemfd };
    expectErrno('EINVAL', request, () => td.setUserMemoryRegion2({ ...slot, size: 4 * PAGE_SIZE }));
    expectErrno('EINVAL', request, () => td.setUserMemoryRegion2({ ...slot, guestMemfdOffset: 16 }));
    td.setUserMemoryRegion2(slot);
    const second = { ...slot, slot: 1, gpa: 0x10_0000n };
    expectErrno('EINVAL', request, () => td.setUserMemoryRegion2(second));
    td.setUserMemoryRegion2({ ...second, guestMemfdOffset: PAGE_SIZE });
    expectErrno('EINVAL', request, () => td.setUserMemoryRegion2({ ...slot, flags: 0, gpa: 0x20_0000n, size: 8192 }));
    expectState('FOREIGN_OBJECT', () => createTd(use()).setUserMemoryRegion2(slot));
  });

  it.each<[string, bigint, bigint, bigint]>([
    ['an attribute that nobody knows', 0n, 4096n, 1n],
    ['no bytes', 0n, 0n, 8n],
    ['an unaligned address', 1n, 4096n, 8n],
    ['an unaligned size', 0n, 100n, 8n],
    ['addresses that wrap', (1n << 64n) - 4096n, 8192n, 8n],
  ])('KVM_SET_MEMORY_ATTRIBUTES refuses %s', (_, gpa, size, attributes) => {
    const td = newTd(use());
    expectErrno('EINVAL', 'KVM_SET_MEMORY_ATTRIBUTES', () => td.setMemoryAttributes(gpa, size, attributes));
  });
});

describeOnTdx('the vCPUs of a TD', (use) => {
  const CREATE = 'KVM_CREATE_VCPU';

  it('come after KVM_TDX_INIT_VM and a split irqchip, and before KVM_TDX_FINALIZE_VM', () => {
    const td = newTd(use());
    expectErrno('EIO', CREATE, () => td.createVcpu(0));
    td.tdx.initVm(initParams());
    expectErrno('EINVAL', CREATE, () => td.createVcpu(0));
    td.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
    const vcpu = td.createVcpu(0);
    vcpu.setCpuid2(vcpuCpuid);
    vcpu.tdx.initVcpu(0n);
    td.tdx.finalizeVm();
    expectErrno('EIO', CREATE, () => td.createVcpu(1));
  });

  it('have ids below 4096 whatever the state, and are as many as KVM_CAP_MAX_VCPUS says', () => {
    expectErrno('EINVAL', CREATE, () => newTd(use()).createVcpu(4096));
    const td = createTd(use());
    const most = td.checkExtension(KVM_CAP.MAX_VCPUS);
    for (let i = 0; i < most; i++) td.createVcpu(4095 - i);
    expectErrno('EINVAL', CREATE, () => td.createVcpu(0));
  });

  it('are never asked for twice with one id', () => {
    const td = createTd(use());
    td.createVcpu(7).close();
    expectState('DUPLICATE_VCPU', () => td.createVcpu(7));
  });

  it.each<[string, CpuidEntry[]]>([
    ['no x2APIC', [entry(1)]],
    ['no CPUID at all', []],
    [
      'a physical address of 31 bits',
      [entry(1, { ecx: X2APIC }), entry(0x8000_0000, { eax: 0x8000_0008 }), entry(0x8000_0008, { eax: 31 })],
    ],
  ])('KVM_TDX_INIT_VCPU refuses %s, and works when that is mended', (_, cpuid) => {
    const vcpu = createTd(use()).createVcpu(0);
    vcpu.setCpuid2(cpuid);
    expectErrno('EINVAL', 'KVM_TDX_INIT_VCPU', () => vcpu.tdx.initVcpu(0n));
    vcpu.setCpuid2(vcpuCpuid);
    vcpu.tdx.initVcpu(0xffff_ffff_ffff_ffffn);
    expectErrno('EINVAL', 'KVM_TDX_INIT_VCPU', () => vcpu.tdx.initVcpu(0n));
  });

  it('keep their registers to themselves', () => {
    const { vcpu } = buildTd(use());
    const plain = use().createVm(0).createVcpu(0);
    expectErrno('EINVAL', 'KVM_GET_REGS', () => vcpu.getRegs());
    expectErrno('EINVAL', 'KVM_SET_REGS', () => vcpu.setRegs(plain.getRegs()));
    expectErrno('EINVAL', 'KVM_GET_SREGS', () => vcpu.getSregs());
    expectErrno('EINVAL', 'KVM_SET_SREGS', () => vcpu.setSregs(plain.getSregs()));
  });

  it('tell the TD’s CPUID before and after KVM_TDX_INIT_VCPU, not after KVM_TDX_FINALIZE_VM', () => {
    const td = createTd(use());
    const vcpu = td.createVcpu(0);
    const before = vcpu.tdx.getCpuid();
    expect(before.some((row) => row.function === 0)).toBe(true);
    vcpu.setCpuid2(vcpuCpuid);
    vcpu.tdx.initVcpu(0n);
    expect(vcpu.tdx.getCpuid()).toEqual(before);
    td.tdx.finalizeVm();
    expectErrno('EINVAL', 'KVM_TDX_GET_CPUID', () => vcpu.tdx.getCpuid());
  });
});

describeOnTdx('adding memory to a TD', (use, backend) => {
  const region = ({ memory }: BuiltTd): TdxMemRegion => ({
    source: memory,
    sourceOffset: 0,
    gpa: TD_GPA,
    nrPages: 1,
    measure: true,
  });
  const expectNone = (code: string, body: () => void, pagesDone = 0): void =>
    expect(refusal(body)).toMatchObject({ code, request: 'KVM_TDX_INIT_MEM_REGION', pagesDone });

  it.each<[string, string, Partial<TdxMemRegion>]>([
    ['no pages', 'EINVAL', { nrPages: 0 }],
    ['an unaligned address', 'EINVAL', { gpa: TD_GPA + 16n }],
    ['an unaligned source', 'EINVAL', { sourceOffset: 16 }],
    ['an address with the shared bit', 'EINVAL', { gpa: TD_GPA | (1n << 47n) }],
    ['addresses that wrap', 'EINVAL', { gpa: (1n << 64n) - 4096n, nrPages: 2 }],
    ['an address without a slot', 'EINVAL', { gpa: 0x4000_0000n }],
  ])('refuses %s: %s', (_, code, change) => {
    const td = buildTd(use());
    expectNone(code, () => td.vcpu.tdx.initMemRegion({ ...region(td), ...change }));
    addPages(td, 1);
    td.vm.tdx.finalizeVm();
  });

  it('needs an initialised vCPU, a slot with a guest_memfd, and the attribute PRIVATE', () => {
    const td = buildTd(use());
    const idle = td.vm.createVcpu(1);
    expectNone('EINVAL', () => idle.tdx.initMemRegion(region(td)));
    td.vm.setUserMemoryRegion({ slot: 1, gpa: 0n, size: PAGE_SIZE, memory: td.memory });
    td.vm.setMemoryAttributes(0n, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expectNone('EINVAL', () => td.vcpu.tdx.initMemRegion({ ...region(td), gpa: 0n }));
    td.vm.setMemoryAttributes(TD_GPA, 4096n, 0n);
    expectNone('EINVAL', () => td.vcpu.tdx.initMemRegion(region(td)));
    td.vm.setMemoryAttributes(TD_GPA, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    addPages(td, 1);
  });

  it('kills the TD where GPAW and the CPUID of the vCPU disagree: EIO, and EIO for ever', () => {
    const td = buildTd(use());
    td.vcpu.setCpuid2([
      entry(1, { ecx: X2APIC }),
      entry(0x8000_0000, { eax: 0x8000_0008 }),
      entry(0x8000_0008, { eax: (52 << 16) | 52 }),
    ]);
    try {
      newTd(use()).tdx.initVm(initParams(52));
    } catch {
      // Without 5-level EPT there is one GPAW, and nothing to disagree about.
      addPages(td, 1);
      return;
    }
    expectNone('EIO', () => addPages(td, 1));
    expectErrno('EIO', 'KVM_TDX_FINALIZE_VM', () => td.vm.tdx.finalizeVm());
  });

  it('is not held up by a vCPU that was never initialised, which KVM_TDX_FINALIZE_VM then leaves so', () => {
    const td = buildTd(use());
    const idle = td.vm.createVcpu(1);
    idle.setCpuid2(vcpuCpuid);
    addPages(td, 1);
    td.vm.tdx.finalizeVm();
    expectErrno('EINVAL', 'KVM_TDX_INIT_VCPU', () => idle.tdx.initVcpu(0n));
  });

  it('stops at the end of the slot, at a page that is there, and says how far it came', () => {
    const td = buildTd(use(), 4);
    const source = use().createMemory(8 * PAGE_SIZE);
    expectNone('EINVAL', () => td.vcpu.tdx.initMemRegion({ ...region(td), source, nrPages: 8 }), 4);
    expectNone('EEXIST', () => addPages(td, 1, 2));
  });

  it('tells a watcher every 256 pages', () => {
    const td = buildTd(use(), 600);
    const seen: number[] = [];
    td.vcpu.tdx.initMemRegion({ ...region(td), nrPages: 600, measure: false, onProgress: (pages) => seen.push(pages) });
    expect(seen).toEqual([256, 512, 600]);
  });

  it('takes no more than its source has, and none of another system or a closed one', () => {
    const td = buildTd(use(), 4);
    const wrong = (change: Partial<TdxMemRegion>) => () => td.vcpu.tdx.initMemRegion({ ...region(td), ...change });
    expect(wrong({ nrPages: 5 })).toThrow(RangeError);
    expect(wrong({ sourceOffset: 4 * PAGE_SIZE })).toThrow(RangeError);
    const closed = use().createMemory(PAGE_SIZE);
    closed.close();
    expectState('CLOSED', wrong({ source: closed }));
    using other = backend.open();
    expectState('FOREIGN_OBJECT', wrong({ source: other.createMemory(PAGE_SIZE) }));
  });

  it('does not add a page again that became shared and private once more, until a hole was punched', () => {
    const td = buildTd(use());
    addPages(td, 1);
    td.vm.setMemoryAttributes(TD_GPA, 4096n, 0n);
    td.vm.setMemoryAttributes(TD_GPA, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expectNone('EEXIST', () => addPages(td, 1));
    td.memfd.punchHole(0, PAGE_SIZE);
    addPages(td, 1);
  });
});

describeOnTdx('finalising a TD', (use) => {
  const FINALIZE = 'KVM_TDX_FINALIZE_VM';

  it('comes after KVM_TDX_INIT_VM, once, and ends all changes', () => {
    expectErrno('EINVAL', FINALIZE, () => newTd(use()).tdx.finalizeVm());
    const td = buildTd(use());
    const late = td.vm.createVcpu(1);
    late.setCpuid2(vcpuCpuid);
    addPages(td, 1);
    td.vm.tdx.finalizeVm();
    expectErrno('EINVAL', FINALIZE, () => td.vm.tdx.finalizeVm());
    expectErrno('EINVAL', 'KVM_TDX_INIT_VM', () => td.vm.tdx.initVm(initParams()));
    expectErrno('EINVAL', 'KVM_TDX_INIT_VCPU', () => late.tdx.initVcpu(0n));
    expect(refusal(() => addPages(td, 1, 1))).toMatchObject({ code: 'EINVAL', pagesDone: 0 });
  });

  it('comes before KVM_RUN', async () => {
    const td = buildTd(use());
    await expect(td.vcpu.run()).rejects.toMatchObject({ name: 'KvmError', code: 'EINVAL', request: 'KVM_RUN' });
    addPages(td, 1);
    td.vm.tdx.finalizeVm();
  });

  it('of an empty TD works', () => {
    buildTd(use()).vm.tdx.finalizeVm();
  });

  it('without an initialised vCPU destroys the TD: EIO, with the module’s status, and EIO for ever', () => {
    const td = createTd(use());
    const vcpu = td.createVcpu(0);
    expect(refusal(() => td.tdx.finalizeVm())).toMatchObject({ code: 'EIO', hwError: 0xc000_0609_0000_0000n });
    expectErrno('EIO', FINALIZE, () => td.tdx.finalizeVm());
    expectErrno('EIO', 'KVM_CHECK_EXTENSION', () => td.checkExtension(KVM_CAP.MAX_VCPUS));
    expectErrno('EIO', 'KVM_SET_CPUID2', () => vcpu.setCpuid2(vcpuCpuid));
    td.close();
  });

  it('is possible for one TD while others are being built', () => {
    const [first, second] = [buildTd(use()), buildTd(use())];
    addPages(first, 2);
    addPages(second, 1);
    second.vm.tdx.finalizeVm();
    addPages(first, 1, 2);
    first.vm.close();
    second.vm.close();
  });
});

describeOnTdx('the KeyIDs of TDs', (use) => {
  it('come back when a TD closes, in whatever state', () => {
    for (let i = 0; i < 80; i++) {
      const td = i % 2 ? createTd(use()) : buildTd(use()).vm;
      td.close();
    }
    createTd(use());
  });

  it('run out: KVM_TDX_INIT_VM answers ENOSPC until a TD closes', () => {
    const tds: KvmVm[] = [];
    const fill = (): void => {
      while (tds.length < 0x8000) tds.push(createTd(use()));
    };
    expectErrno('ENOSPC', 'KVM_TDX_INIT_VM', fill);
    const waiting = newTd(use());
    expectErrno('ENOSPC', 'KVM_TDX_INIT_VM', () => waiting.tdx.initVm(initParams()));
    tds.pop()!.close();
    waiting.tdx.initVm(initParams());
  });
});
