import { describe, expect, it } from 'vitest';
import {
  KVM_CAP,
  KVM_MEM_GUEST_MEMFD,
  KVM_MEM_READONLY,
  KVM_MEMORY_ATTRIBUTE_PRIVATE,
  PAGE_SIZE,
} from '../../src/kvm/constants.js';
import { KvmError, type KvmVm } from '../../src/kvm/index.js';
import { describeOnEach } from './backends.js';
import { expectErrno, expectState } from './expect-refusal.js';

const SLOT = 'KVM_SET_USER_MEMORY_REGION';

describeOnEach('a plain VM', (use, backend) => {
  const open = (): KvmVm => use().createVm(0);

  it('answers KVM_CHECK_EXTENSION for itself', () => {
    const vm = open();
    expect(vm.type).toBe(0);
    expect(vm.checkExtension(KVM_CAP.READONLY_MEM)).toBe(1);
    expect(vm.checkExtension(KVM_CAP.MAX_VCPUS)).toBeGreaterThan(0);
    expect(vm.checkExtension(0x7fff_ffff)).toBe(0);
  });

  describe('KVM_ENABLE_CAP', () => {
    const CAP = 'KVM_ENABLE_CAP';
    it.each<[string, string, (vm: KvmVm) => void]>([
      ['an unknown capability', 'EINVAL', (vm) => vm.enableCap(0x7fff_ffff)],
      ['flags', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n], 1)],
      ['KVM_CAP_MAX_VCPUS, which a kernel fixes', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.MAX_VCPUS, [1n])],
      ['more than 4096 pins', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [4097n])],
      ['bits of X2APIC_API that nobody knows', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.X2APIC_API, [1n << 40n])],
      ['hypercalls other than MAP_GPA_RANGE', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.EXIT_HYPERCALL, [0x2000n])],
      ['an APIC bus cycle of 0 ns', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [0n])],
      ['one whose timer would overflow', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [33_554_433n])],
      ['one without an irqchip', 'ENXIO', (vm) => vm.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [40n])],
      ['more than 4096 vCPU ids', 'EINVAL', (vm) => vm.enableCap(KVM_CAP.MAX_VCPU_ID, [4097n])],
    ])('refuses %s: %s', (_, code, request) => {
      const vm = open();
      expectErrno(code, CAP, () => request(vm));
    });

    it('splits the irqchip once, and not when there is a vCPU', () => {
      const vm = open();
      vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
      vm.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [40n]);
      expectErrno('EEXIST', CAP, () => vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]));
      vm.createVcpu(0);
      expectErrno('EINVAL', CAP, () => vm.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [40n]));
      const late = open();
      late.createVcpu(0);
      expectErrno('EEXIST', CAP, () => late.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]));
    });

    it('takes the first KVM_CAP_MAX_VCPU_ID and the same again; a vCPU that was only tried for sets 4096', () => {
      const vm = open();
      vm.enableCap(KVM_CAP.MAX_VCPU_ID, [8n]);
      vm.enableCap(KVM_CAP.MAX_VCPU_ID, [8n]);
      expectErrno('EINVAL', CAP, () => vm.enableCap(KVM_CAP.MAX_VCPU_ID, [9n]));
      expectErrno('EINVAL', 'KVM_CREATE_VCPU', () => vm.createVcpu(8));
      const tried = open();
      tried.createVcpu(0);
      expectErrno('EINVAL', CAP, () => tried.enableCap(KVM_CAP.MAX_VCPU_ID, [8n]));
    });

    it('takes what the launch of a TD enables', () => {
      const vm = open();
      vm.enableCap(KVM_CAP.X2APIC_API, [3n]);
      vm.enableCap(KVM_CAP.EXIT_HYPERCALL, [0x1000n]);
      vm.enableCap(KVM_CAP.EXIT_HYPERCALL);
    });
  });

  it('has the host’s TSC frequency until it is given one', () => {
    const vm = open();
    const host = vm.getTscKhz();
    expect(host).toBeGreaterThan(100_000);
    vm.setTscKhz(host - 1);
    expect(vm.getTscKhz()).toBe(host - 1);
    vm.setTscKhz(0);
    expect(vm.getTscKhz()).toBe(host);
    // Only a processor that scales the TSC has a limit.
    if (!backend.has(KVM_CAP.TSC_CONTROL)) return;
    for (const khz of [0x7fff_ffff, 0xffff_ffff]) expectErrno('EINVAL', 'KVM_SET_TSC_KHZ', () => vm.setTscKhz(khz));
  });

  it('has addresses for the TSS and, before there are vCPUs, for the identity map', () => {
    const vm = open();
    vm.setIdentityMapAddr(0xfffb_c000n);
    vm.setTssAddr(0xfffb_d000);
    expectErrno('EINVAL', 'KVM_SET_TSS_ADDR', () => vm.setTssAddr(0xffff_f000));
    vm.createVcpu(0);
    expectErrno('EINVAL', 'KVM_SET_IDENTITY_MAP_ADDR', () => vm.setIdentityMapAddr(0xfffb_c000n));
  });

  describe('memory slots', () => {
    const pages = 4 * PAGE_SIZE;
    const prepared = () => {
      const vm = open();
      const memory = use().createMemory(pages);
      vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 2 * PAGE_SIZE, memory });
      return { vm, memory };
    };

    it.each<[string, string, Partial<Parameters<KvmVm['setUserMemoryRegion']>[0]>]>([
      ['an overlap', 'EEXIST', { gpa: 0x1000n }],
      ['an overlap from below', 'EEXIST', { gpa: 0n, size: PAGE_SIZE }],
      ['an unaligned address', 'EINVAL', { gpa: 0x4010n }],
      ['an unaligned size', 'EINVAL', { size: 100 }],
      ['unaligned memory', 'EINVAL', { memoryOffset: 16 }],
      ['addresses that wrap', 'EINVAL', { gpa: 0xffff_ffff_ffff_f000n }],
      ['a slot number beyond KVM_CAP_NR_MEMSLOTS', 'EINVAL', { slot: 32_764 }],
      ['flags that nobody knows', 'EINVAL', { flags: 0x80 }],
      ['a change of size', 'EINVAL', { slot: 0, gpa: 0n, size: PAGE_SIZE }],
      ['a change of memory', 'EINVAL', { slot: 0, gpa: 0n, size: 2 * PAGE_SIZE, memoryOffset: PAGE_SIZE }],
      ['deleting a slot that is not there', 'EINVAL', { slot: 5, size: 0 }],
      ['guest_memfd in the older request', 'EINVAL', { flags: KVM_MEM_GUEST_MEMFD }],
    ])('refuse %s: %s', (_, code, change) => {
      const { vm, memory } = prepared();
      const region = { slot: 1, gpa: 0x4000n, size: PAGE_SIZE, memory, ...change };
      expectErrno(code, SLOT, () => vm.setUserMemoryRegion(region));
    });

    it('are deleted by size 0, moved, made read-only, and made again', () => {
      const { vm, memory } = prepared();
      const region = { slot: 0, gpa: 0n, size: 2 * PAGE_SIZE, memory };
      vm.setUserMemoryRegion({ ...region, gpa: 0x10_0000n });
      vm.setUserMemoryRegion({ ...region, slot: 1 });
      expectErrno('EEXIST', SLOT, () => vm.setUserMemoryRegion(region));
      vm.setUserMemoryRegion({ ...region, size: 0, memory: null });
      vm.setUserMemoryRegion({ ...region, gpa: 0x20_0000n, flags: KVM_MEM_READONLY });
    });

    it('may share memory, and need none of it', () => {
      const { vm, memory } = prepared();
      vm.setUserMemoryRegion({ slot: 1, gpa: 0x10_0000n, size: pages, memory });
      vm.setUserMemoryRegion2({ slot: 2, gpa: 0x20_0000n, size: PAGE_SIZE, memory });
      memory.close();
      vm.setUserMemoryRegion({ slot: 1, gpa: 0n, size: 0, memory: null });
    });

    it('take no more than the memory has, and no memory that is closed', () => {
      const { vm, memory } = prepared();
      const region = { slot: 1, gpa: 0x4000n, memory };
      for (const over of [{ size: pages + PAGE_SIZE }, { size: pages, memoryOffset: PAGE_SIZE }])
        expect(() => vm.setUserMemoryRegion({ ...region, ...over })).toThrow(RangeError);
      memory.close();
      expectState('CLOSED', () => vm.setUserMemoryRegion({ ...region, size: PAGE_SIZE }));
    });

    it('take no memory of another system', () => {
      using other = backend.open();
      const { vm } = prepared();
      const region = { slot: 1, gpa: 0x4000n, size: PAGE_SIZE, memory: other.createMemory(PAGE_SIZE) };
      expectState('FOREIGN_OBJECT', () => vm.setUserMemoryRegion(region));
      expectState('FOREIGN_OBJECT', () => vm.setUserMemoryRegion2(region));
    });
  });

  it.skipIf(!backend.has(KVM_CAP.GUEST_MEMFD))('makes guest_memfds of whole pages, for itself only', () => {
    const vm = open();
    const memfd = vm.createGuestMemfd(2 * PAGE_SIZE);
    expect({ size: memfd.size, closed: memfd.closed }).toEqual({ size: 2 * PAGE_SIZE, closed: false });
    memfd.punchHole(0, PAGE_SIZE);
    for (const [offset, length] of [
      [1, PAGE_SIZE],
      [0, 0],
    ] as const)
      expect(() => memfd.punchHole(offset, length)).toThrow(
        expect.objectContaining({ name: 'KvmError', code: 'EINVAL', syscall: 'fallocate' }),
      );
    for (const size of [0, PAGE_SIZE - 1])
      expectErrno('EINVAL', 'KVM_CREATE_GUEST_MEMFD', () => vm.createGuestMemfd(size));
    expectErrno('EINVAL', 'KVM_CREATE_GUEST_MEMFD', () => vm.createGuestMemfd(PAGE_SIZE, 1n << 40n));
    const memory = use().createMemory(PAGE_SIZE);
    const region = { slot: 0, flags: KVM_MEM_GUEST_MEMFD, gpa: 0n, size: PAGE_SIZE, memory, guestMemfd: memfd };
    expectState('FOREIGN_OBJECT', () => open().setUserMemoryRegion2(region));
    memfd.close();
    memfd.close();
    expectState('CLOSED', () => memfd.punchHole(0, PAGE_SIZE));
    expectState('CLOSED', () => vm.setUserMemoryRegion2(region));
    const other = vm.createGuestMemfd(PAGE_SIZE);
    vm.close();
    expect(other.closed).toBe(true);
  });

  it('has no private memory: KVM_SET_MEMORY_ATTRIBUTES is refused', () => {
    const set = () => open().setMemoryAttributes(0n, 0x1000n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    // A kernel without CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES does not know the request.
    expectErrno(backend.has(KVM_CAP.MEMORY_ATTRIBUTES) ? 'EINVAL' : 'ENOTTY', 'KVM_SET_MEMORY_ATTRIBUTES', set);
  });

  it('is no TD: its sub-commands are ENOTTY', () => {
    const { tdx } = open();
    expectErrno('ENOTTY', 'KVM_TDX_CAPABILITIES', () => tdx.capabilities());
    expectErrno('ENOTTY', 'KVM_TDX_INIT_VM', () => tdx.initVm({ attributes: 0n, xfam: 3n, cpuid: [] }));
    expectErrno('ENOTTY', 'KVM_TDX_FINALIZE_VM', () => tdx.finalizeVm());
    expectErrno('ENOTTY', 'KVM_TDX_TERMINATE_VM', () => tdx.terminateVm());
    // With TDX, vt_vcpu_mem_enc_ioctl() answers; without, the vCPU has no such request.
    const vcpu = open().createVcpu(0);
    const code = backend.tdx ? 'EINVAL' : 'ENOTTY';
    expectErrno(code, 'KVM_TDX_INIT_VCPU', () => vcpu.tdx.initVcpu(0n));
    expectErrno(code, 'KVM_TDX_GET_CPUID', () => vcpu.tdx.getCpuid());
    const region = { source: use().createMemory(PAGE_SIZE), sourceOffset: 0, gpa: 0n, nrPages: 1, measure: true };
    expect(() => vcpu.tdx.initMemRegion(region)).toThrow(
      expect.objectContaining({ code, request: 'KVM_TDX_INIT_MEM_REGION', pagesDone: 0 }),
    );
  });

  describe('vCPUs', () => {
    it('are made once an id, which stays taken when one is closed', () => {
      const vm = open();
      const vcpu = vm.createVcpu(3);
      expect({ id: vcpu.id, closed: vcpu.closed, running: vcpu.running }).toEqual({
        id: 3,
        closed: false,
        running: false,
      });
      expectState('DUPLICATE_VCPU', () => vm.createVcpu(3));
      vcpu.close();
      vcpu.close();
      expectState('DUPLICATE_VCPU', () => vm.createVcpu(3));
      vm.createVcpu(0);
    });

    it('have ids below 4096; one that the kernel refused may be asked for again', () => {
      const vm = open();
      for (let i = 0; i < 2; i++) expectErrno('EINVAL', 'KVM_CREATE_VCPU', () => vm.createVcpu(0x1_0000));
    });

    it('have the registers of a processor after RESET', () => {
      const vcpu = open().createVcpu(0);
      expect(vcpu.getRegs()).toMatchObject({ rip: 0xfff0n, rflags: 2n, rax: 0n });
      const { cs, cr0, efer, gdt, apicBase } = vcpu.getSregs();
      expect({ cs, cr0, efer, gdt, apicBase }).toMatchObject({
        cs: { base: 0xffff_0000n, selector: 0xf000, limit: 0xffff },
        cr0: 0x6000_0010n,
        efer: 0n,
        gdt: { base: 0n, limit: 0xffff },
        apicBase: 0xfee0_0900n,
      });
    });

    it('keep the registers that they are given, and a copy of them', () => {
      const vcpu = open().createVcpu(0);
      const regs = { ...vcpu.getRegs(), rax: 0xffff_ffff_ffff_ffffn, r15: 15n };
      vcpu.setRegs(regs);
      regs.rax = 0n;
      expect(vcpu.getRegs()).toEqual({ ...regs, rax: 0xffff_ffff_ffff_ffffn });
      const sregs = { ...vcpu.getSregs(), cr2: 0x1234n };
      vcpu.setSregs(sregs);
      expect(vcpu.getSregs()).toEqual(sregs);
    });

    it('take up to 256 entries of CPUID', () => {
      const vcpu = open().createVcpu(0);
      vcpu.setCpuid2([]);
      vcpu.setCpuid2(use().getSupportedCpuid());
      const entry = { index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 };
      const entries = Array.from({ length: 257 }, (_, i) => ({ ...entry, function: 0x4000_0000 + i }));
      expect(() => vcpu.setCpuid2(entries)).toThrow(KvmError);
      vcpu.setCpuid2(entries.slice(1));
    });

    it('are closed by their VM, once, and refuse everything then', async () => {
      const vm = open();
      const vcpu = vm.createVcpu(0);
      const regs = vcpu.getRegs();
      const sregs = vcpu.getSregs();
      vm.close();
      vm.close();
      expect([vm.closed, vcpu.closed, vcpu.running]).toEqual([true, true, false]);
      for (const request of [
        () => vcpu.getRegs(),
        () => vcpu.setRegs(regs),
        () => vcpu.getSregs(),
        () => vcpu.setSregs(sregs),
        () => vcpu.setCpuid2([]),
        () => vcpu.tdx.initVcpu(0n),
        () => vcpu.tdx.getCpuid(),
        () => vm.createVcpu(1),
        () => vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]),
        () => vm.checkExtension(KVM_CAP.MAX_VCPUS),
        () => vm.getTscKhz(),
        () => vm.createGuestMemfd(PAGE_SIZE),
        () => vm.tdx.capabilities(),
      ])
        expectState('CLOSED', request);
      await expect(vcpu.run()).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
      await expect(vcpu.run({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
      expect(vcpu.takePortOutput()).toHaveLength(0);
    });

    it('do not run when the signal was aborted before', async () => {
      const vcpu = open().createVcpu(0);
      const reason = new Error('too late');
      await expect(vcpu.run({ signal: AbortSignal.abort(reason) })).rejects.toMatchObject({
        name: 'AbortError',
        code: 'ABORT_ERR',
        cause: reason,
      });
    });
  });
});
