import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KVM_CAP } from '../../src/kvm/constants.js';
import type { KvmSystem } from '../../src/kvm/index.js';
import { DEFAULT_PROFILE, loadProfile, MockHost, mockHostOf, mockMrtd, openMock } from '../../src/mock/index.js';
import { addPages, buildTd, createTd, entry, gpaw, initParams, refusal, TD_GPA, vcpuCpuid, X2APIC } from './launch.js';

let system: KvmSystem;
beforeEach(() => {
  system = openMock();
});
afterEach(() => system.close());

describe('a TD on the model, from KVM_CREATE_VM to KVM_RUN', () => {
  it('is built, measured and finalised, and its MRTD depends on what was added', () => {
    const td = buildTd(system);
    td.memory.write(0, new Uint8Array([1, 2, 3]));
    addPages(td, 2);
    td.vm.tdx.finalizeVm();
    const mrtd = Buffer.from(mockMrtd(td.vm)!).toString('hex');
    expect(mrtd).toMatch(/^[0-9a-f]{96}$/);
    const other = buildTd(system);
    addPages(other, 2);
    other.vm.tdx.finalizeVm();
    expect(Buffer.from(mockMrtd(other.vm)!).toString('hex')).not.toBe(mrtd);
  });

  it('ends KVM_RUN with an exit that says why, where nothing executes guests', async () => {
    using hostOnly = openMock({ host: new MockHost(loadProfile(DEFAULT_PROFILE)) });
    const td = buildTd(hostOnly);
    td.vm.tdx.finalizeVm();
    await expect(td.vcpu.run()).resolves.toMatchObject({
      reason: 'unknown',
      exitReason: 0,
      detail: expect.stringContaining('nothing that executes its guests: this host was made without one'),
    });
  });

  it('refuses KVM_RUN before KVM_TDX_FINALIZE_VM with EINVAL', async () => {
    const td = buildTd(system);
    await expect(td.vcpu.run()).rejects.toMatchObject({ code: 'EINVAL', request: 'KVM_RUN', rule: 'kvm.run.td-state' });
  });

  it('waits in KVM_RUN of a second vCPU that was never initialised until it is aborted or closed', async () => {
    const td = buildTd(system);
    const second = td.vm.createVcpu(1);
    const abort = new AbortController();
    const aborted = second.run({ signal: abort.signal });
    expect(second.running).toBe(true);
    expect(() => second.setCpuid2(vcpuCpuid)).toThrow(expect.objectContaining({ code: 'ERR_KVM_VCPU_RUNNING' }));
    abort.abort();
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
    const closed = second.run();
    second.close();
    await expect(closed).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
  });

  it('says in KVM_TDX_GET_CPUID what the TD got, with the GPAW where KVM takes it', () => {
    const td = buildTd(system);
    const widths = td.vcpu.tdx.getCpuid().find((row) => row.function === 0x8000_0008);
    expect((widths!.eax >>> 16) & 0xff).toBe(48);
  });

  it('lets a failed KVM_TDX_INIT_VM be tried again on the same VM', () => {
    const vm = system.createVm(5);
    expect(refusal(() => vm.tdx.initVm({ ...initParams(), xfam: 0x20n }))).toMatchObject({
      code: 'EINVAL',
      rule: 'module.mng-init.xfam-avx512',
      tdxStatus: { name: 'TDX_OPERAND_INVALID', operand: 'XFAM' },
    });
    expect(mockHostOf(system)!.stats()).toMatchObject({ keyIdsInUse: 0, pagesAllocated: 0 });
    vm.tdx.initVm(initParams());
    expect(refusal(() => vm.tdx.initVm(initParams())).rule).toBe('kvm.init-vm.once');
  });

  it('answers EIO to everything after KVM_TDX_FINALIZE_VM without an initialised vCPU', () => {
    const vm = createTd(system);
    const error = refusal(() => vm.tdx.finalizeVm());
    expect(error).toMatchObject({ code: 'EIO', tdxStatus: { name: 'TDX_NO_VCPUS' } });
    expect(refusal(() => vm.checkExtension(KVM_CAP.MAX_VCPUS))).toMatchObject({ code: 'EIO', rule: 'kvm.vm-dead' });
    expect(refusal(() => vm.createVcpu(0)).rule).toBe('kvm.vm-dead');
  });

  it('kills the VM when the vCPU and the TD disagree about the GPAW on a host with 5-level EPT', () => {
    const td = buildTd(system);
    td.vcpu.setCpuid2([
      entry(1, { ecx: X2APIC }),
      entry(0x8000_0000, { eax: 0x8000_0008 }),
      { ...gpaw(52), eax: (52 << 16) | 52 },
    ]);
    expect(refusal(() => addPages(td, 1))).toMatchObject({ code: 'EIO', rule: 'kvm.gpaw-mismatch', pagesDone: 0 });
    expect(refusal(() => td.vm.tdx.finalizeVm()).rule).toBe('kvm.vm-dead');
  });

  it('does not add a page twice until a hole was punched into its guest_memfd', () => {
    const td = buildTd(system);
    addPages(td, 3);
    expect(refusal(() => addPages(td, 1, 2))).toMatchObject({ code: 'EEXIST', pagesDone: 0 });
    td.memfd.punchHole(2 * 4096, 4096);
    addPages(td, 1, 2);
    td.vm.tdx.finalizeVm();
  });

  it('counts the pages that are in the TD when a region fails in the middle', () => {
    const td = buildTd(system);
    addPages(td, 1, 3);
    const seen: number[] = [];
    const error = refusal(() =>
      td.vcpu.tdx.initMemRegion({
        source: td.memory,
        sourceOffset: 0,
        gpa: TD_GPA,
        nrPages: 6,
        measure: false,
        onProgress: (pages) => seen.push(pages),
      }),
    );
    expect(error).toMatchObject({ code: 'EEXIST', pagesDone: 3 });
  });

  it('takes pages out of the TD when they become shared, also after KVM_TDX_FINALIZE_VM', () => {
    const td = buildTd(system);
    addPages(td, 4);
    td.vm.tdx.finalizeVm();
    const before = mockHostOf(system)!.stats().pagesAllocated;
    td.vm.setMemoryAttributes(TD_GPA, 0x2000n, 0n);
    td.memfd.punchHole(0, 0x2000);
    expect(mockHostOf(system)!.stats().pagesAllocated).toBe(before - 2);
  });
});

describe('the objects of the model', () => {
  it('refuse use after close and close their children', () => {
    const td = buildTd(system);
    td.vm.close();
    td.vm.close();
    expect(td.vcpu.closed && td.memfd.closed && td.vm.closed).toBe(true);
    expect(() => td.vm.checkExtension(1)).toThrow(expect.objectContaining({ code: 'ERR_KVM_CLOSED' }));
    expect(() => td.vcpu.tdx.initVcpu(0n)).toThrow(expect.objectContaining({ code: 'ERR_KVM_CLOSED' }));
    system.close();
    expect(td.memory.closed).toBe(true);
    expect(() => system.createVm(0)).toThrow(expect.objectContaining({ code: 'ERR_KVM_CLOSED' }));
  });

  it('never send a repeated vcpu_id to the kernel', () => {
    const { vm } = buildTd(system);
    expect(() => vm.createVcpu(0)).toThrow(expect.objectContaining({ code: 'ERR_KVM_DUPLICATE_VCPU' }));
  });

  it('refuse memory and guest_memfds of others', () => {
    const td = buildTd(system);
    using other = openMock();
    const foreign = buildTd(other);
    const region = { slot: 1, gpa: 0x4000_0000n, size: 4096 };
    const code = 'ERR_KVM_FOREIGN_OBJECT';
    expect(() => td.vm.setUserMemoryRegion({ ...region, memory: foreign.memory })).toThrow(
      expect.objectContaining({ code }),
    );
    expect(() =>
      td.vm.setUserMemoryRegion2({ ...region, flags: 4, memory: td.memory, guestMemfd: foreign.memfd }),
    ).toThrow(expect.objectContaining({ code }));
  });

  it('refuse wrong arguments before any request', () => {
    const vm = system.createVm(5);
    expect(() => vm.enableCap(121, [-1n])).toThrow(RangeError);
    expect(() => vm.enableCap(121, [24 as unknown as bigint])).toThrow(TypeError);
    expect(() => vm.tdx.initVm({ ...initParams(), mrOwner: new Uint8Array(47) })).toThrow(
      /params\.mrOwner must be 48 bytes/,
    );
    expect(() => system.createMemory(4095)).toThrow(RangeError);
  });

  it('hand out memory that costs nothing until it is touched', () => {
    const memory = system.createMemory(1 << 30);
    const before = process.memoryUsage().arrayBuffers;
    memory.write(1 << 29, new Uint8Array([7]));
    expect(memory.read((1 << 29) - 1, 3)).toEqual(new Uint8Array([0, 7, 0]));
    memory.discard(1 << 29, 4096);
    expect(memory.read(1 << 29, 1)).toEqual(new Uint8Array([0]));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
    expect(() => memory.read(1 << 30, 1)).toThrow(RangeError);
  });

  it('return everything when a hundred TDs are closed', () => {
    using host = openMock({
      profile: { ...mockHostOf(system)!.profile, kernel: { ...mockHostOf(system)!.profile.kernel } },
    });
    const stats = () => mockHostOf(host)!.stats();
    for (let round = 0; round < 4; round++) {
      const tds = Array.from({ length: 25 }, () => buildTd(host));
      for (const td of tds) {
        addPages(td, 4);
        td.vm.tdx.finalizeVm();
      }
      expect(stats()).toMatchObject({ vms: 25, tds: 25, keyIdsInUse: 25 });
      for (const td of tds) td.vm.close();
      expect(stats()).toMatchObject({ vms: 0, tds: 0, vcpus: 0, keyIdsInUse: 0, keyIdsFree: 31, pagesAllocated: 0 });
    }
  });
});
