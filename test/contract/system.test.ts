import { expect, it } from 'vitest';
import { KVM_CAP, KVM_X86_DEFAULT_VM, PAGE_SIZE } from '../../src/kvm/constants.js';
import type { KvmSystem } from '../../src/kvm/index.js';
import { describeOnEach } from './backends.js';
import { expectErrno, expectState } from './expect-refusal.js';

const UNKNOWN_CAPABILITY = 0x7fff_ffff;

describeOnEach('a KVM system', (use, backend) => {
  it('speaks API version 12, as every kernel since 2007', () => {
    expect(use().getApiVersion()).toBe(12);
  });

  it('says who answers', () => {
    const { backend: kind, description, closed } = use();
    expect({ kind, closed }).toEqual({ kind: backend.name === 'the model' ? 'mock' : 'native', closed: false });
    expect(description).toMatch(/Linux \d/);
  });

  it('answers KVM_CHECK_EXTENSION: what every x86 kernel of 6.16 has, and 0 for what nobody knows', () => {
    for (const capability of [KVM_CAP.USER_MEMORY, KVM_CAP.IMMEDIATE_EXIT, KVM_CAP.SPLIT_IRQCHIP, KVM_CAP.USER_MEMORY2])
      expect(use().checkExtension(capability)).toBe(1);
    expect(use().checkExtension(KVM_CAP.NR_MEMSLOTS)).toBeGreaterThan(500);
    expect(use().checkExtension(UNKNOWN_CAPABILITY)).toBe(0);
  });

  it('offers plain VMs among its VM types', () => {
    expect(use().checkExtension(KVM_CAP.VM_TYPES) & (1 << KVM_X86_DEFAULT_VM)).not.toBe(0);
  });

  it('refuses every VM type that it does not offer', () => {
    const offered = use().checkExtension(KVM_CAP.VM_TYPES);
    const types = Array.from({ length: 32 }, (_, type) => type).filter((type) => (offered & (1 << type)) === 0);
    expect(types.length).toBeGreaterThan(20);
    for (const type of [...types, 32, 0x100, 0xffff_ffff]) {
      expectErrno('EINVAL', 'KVM_CREATE_VM', () => use().createVm(type));
    }
  });

  it('maps at least struct kvm_run, in whole pages, for a vCPU', () => {
    const size = use().getVcpuMmapSize();
    expect(size).toBeGreaterThanOrEqual(PAGE_SIZE);
    expect(size % PAGE_SIZE).toBe(0);
  });

  it('lists the CPUID that it supports: leaf 0 first, each (leaf, sub-leaf) once, all unsigned', () => {
    const entries = use().getSupportedCpuid();
    expect(entries[0]).toMatchObject({ function: 0 });
    expect(entries.some((entry) => entry.function === 0x8000_0008)).toBe(true);
    expect(new Set(entries.map((entry) => `${entry.function}.${entry.index}`)).size).toBe(entries.length);
    for (const value of entries.flatMap((entry) => Object.values(entry)))
      expect(Number.isInteger(value) && value >= 0 && value < 2 ** 32).toBe(true);
  });

  it('makes memory of whole pages, up to what a process can have', () => {
    for (const size of [0, 1, PAGE_SIZE - 1, PAGE_SIZE + 1, 2 ** 53])
      expect(() => use().createMemory(size)).toThrow(expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }));
    expect(use().createMemory(PAGE_SIZE).size).toBe(PAGE_SIZE);
    expect(() => use().createMemory(2 ** 50)).toThrow(
      expect.objectContaining({ name: 'KvmError', code: 'ENOMEM', syscall: 'mmap' }),
    );
  });

  it('is closed once, however often that is said, and with it everything that came from it', () => {
    const system = use();
    const vm = system.createVm(0);
    const memory = system.createMemory(PAGE_SIZE);
    const vcpu = vm.createVcpu(0);
    system.close();
    system.close();
    expect([system, vm, vcpu, memory].map(({ closed }) => closed)).toEqual([true, true, true, true]);
    for (const request of [
      () => system.getApiVersion(),
      () => system.checkExtension(KVM_CAP.USER_MEMORY),
      () => system.createVm(0),
      () => system.getVcpuMmapSize(),
      () => system.getSupportedCpuid(),
      () => system.createMemory(PAGE_SIZE),
    ])
      expectState('CLOSED', request);
  });

  it('is closed by `using`', () => {
    let left: KvmSystem;
    {
      using system = backend.open();
      left = system;
      using vm = system.createVm(0);
      using vcpu = vm.createVcpu(0);
      using memory = system.createMemory(PAGE_SIZE);
      expect(vm.closed || vcpu.closed || memory.closed).toBe(false);
    }
    expect(left.closed).toBe(true);
  });

  it('lives beside others of its kind', () => {
    using other = backend.open();
    const vm = other.createVm(0);
    use().close();
    expect(vm.checkExtension(KVM_CAP.USER_MEMORY)).toBe(1);
  });
});

describeOnEach('memory', (use) => {
  const MEMORY = 4 * PAGE_SIZE;
  const memory = () => use().createMemory(MEMORY);
  const range = expect.objectContaining({ name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });

  it('is zero, and keeps what is written, at every offset and across pages', () => {
    const pages = memory();
    expect(pages.read(0, MEMORY)).toEqual(new Uint8Array(MEMORY));
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i);
    pages.write(4095, bytes);
    expect(pages.read(4094, 5002)).toEqual(Uint8Array.of(0, ...bytes, 0));
    pages.write(MEMORY - 1, Uint8Array.of(9));
    expect(pages.read(MEMORY - 1, 1)).toEqual(Uint8Array.of(9));
  });

  it('copies: neither side sees what becomes of the other’s bytes', () => {
    const pages = memory();
    const bytes = Buffer.from('abc');
    pages.write(0, bytes);
    bytes.fill(0);
    pages.read(0, 3).fill(0);
    expect(Buffer.from(pages.read(0, 3)).toString()).toBe('abc');
  });

  it('has an end', () => {
    const pages = memory();
    for (const [offset, length] of [
      [0, MEMORY + 1],
      [MEMORY, 1],
      [MEMORY + 1, 0],
      [2 ** 53 - 1, 2 ** 53 - 1],
    ] as const) {
      expect(() => pages.read(offset, length)).toThrow(range);
      expect(() => pages.discard(offset, length)).toThrow(range);
    }
    expect(() => pages.write(MEMORY - 1, new Uint8Array(2))).toThrow(range);
    expect(pages.read(MEMORY, 0)).toHaveLength(0);
    pages.write(MEMORY, new Uint8Array(0));
  });

  it('reads as zeros where it was discarded, and nowhere else', () => {
    const pages = memory();
    pages.write(0, new Uint8Array(MEMORY).fill(7));
    pages.discard(PAGE_SIZE, 2 * PAGE_SIZE);
    const sevens = new Uint8Array(PAGE_SIZE).fill(7);
    expect(pages.read(0, MEMORY)).toEqual(Uint8Array.of(...sevens, ...new Uint8Array(2 * PAGE_SIZE), ...sevens));
    for (const [offset, length] of [
      [1, PAGE_SIZE],
      [0, 1],
    ] as const)
      expect(() => pages.discard(offset, length)).toThrow(range);
  });

  it('is gone when it is closed', () => {
    const pages = memory();
    pages.close();
    pages.close();
    expect(pages.closed).toBe(true);
    expectState('CLOSED', () => pages.read(0, 1));
    expectState('CLOSED', () => pages.write(0, Uint8Array.of(1)));
    expectState('CLOSED', () => pages.discard(0, PAGE_SIZE));
  });
});
