import { describe, expect, it } from 'vitest';
import { type Fault, FaultError, loadProfile, MockHost, mockHostOf, mockMrtd, openMock } from '../../src/mock/index.js';
import { TDH } from '../../src/mock/module/seamcall.js';
import { addPages, buildTd, createTd, initParams, refusal } from './launch.js';
import { out, scriptedTd } from './scripted-guest.js';

const withFaults = (...faults: Fault[]) => openMock({ faults });

describe('failures on demand', () => {
  it('fail the n-th call of a request with the errno asked for, and only that', () => {
    using system = withFaults({ request: 'KVM_CREATE_VCPU', nth: 2, errno: 'ENOMEM' });
    const vm = createTd(system);
    vm.createVcpu(0);
    expect(refusal(() => vm.createVcpu(1))).toMatchObject({ code: 'ENOMEM', rule: 'kvm.fault-on-demand' });
    vm.createVcpu(1);
  });

  it('answer a SEAMCALL with a status: no entropy for TDH.MNG.CREATE ten times is EAGAIN, nine times is not noticed', () => {
    const fault = { request: 'KVM_TDX_INIT_VM', nth: 1, seamcall: 'TDH.MNG.CREATE', status: 'TDX_RND_NO_ENTROPY' };
    using patient = withFaults({ ...fault, times: 9 });
    createTd(patient);
    using short = withFaults({ ...fault, times: 10 });
    const vm = short.createVm(5);
    expect(refusal(() => vm.tdx.initVm(initParams()))).toMatchObject({ code: 'EAGAIN', rule: 'kvm.init-vm.entropy' });
    vm.tdx.initVm(initParams());
  });

  it('turn no entropy for TDH.MNG.INIT into EIO, as a kernel whose second try passes 0 for the TDR does', () => {
    using system = withFaults({ request: 'KVM_TDX_INIT_VM', nth: 1, status: '0x8000020300000000' });
    const vm = system.createVm(5);
    const error = refusal(() => vm.tdx.initVm(initParams()));
    expect(error.code).toBe('EIO');
    expect(error.hwError).toBeUndefined();
  });

  it('kill the VM when TDH.MNG.KEY.CONFIG fails, and leak nothing', () => {
    using system = withFaults({
      request: 'KVM_TDX_INIT_VM',
      nth: 1,
      seamcall: 'TDH.MNG.KEY.CONFIG',
      status: 'TDX_OPERAND_BUSY',
    });
    const vm = system.createVm(5);
    expect(refusal(() => vm.tdx.initVm(initParams()))).toMatchObject({ code: 'EIO', rule: 'kvm.init-vm.key-config' });
    expect(refusal(() => vm.tdx.initVm(initParams())).rule).toBe('kvm.vm-dead');
    vm.close();
    expect(mockHostOf(system)!.stats()).toMatchObject({ keyIdsInUse: 0, pagesAllocated: 0, vms: 0 });
  });

  it('make KVM_TDX_FINALIZE_VM busy once; the second call succeeds', () => {
    using system = withFaults({ request: 'KVM_TDX_FINALIZE_VM', nth: 1, status: '0x8000020000000080' });
    const { vm } = buildTd(system);
    expect(refusal(() => vm.tdx.finalizeVm())).toMatchObject({
      code: 'EBUSY',
      rule: 'kvm.finalize.busy',
      tdxStatus: { name: 'TDX_OPERAND_BUSY' },
    });
    vm.tdx.finalizeVm();
  });

  it('interrupt KVM_TDX_INIT_MEM_REGION after some pages; it is resumed and measures the same', () => {
    const mrtd = (...faults: Fault[]) => {
      using system = withFaults(...faults);
      const td = buildTd(system);
      addPages(td, 8);
      td.vm.tdx.finalizeVm();
      return Buffer.from(mockMrtd(td.vm)!).toString('hex');
    };
    const request = 'KVM_TDX_INIT_MEM_REGION';
    const interrupted = mrtd(
      { request, nth: 1, errno: 'EINTR', skip: 3 },
      { request, nth: 2, errno: 'EAGAIN', skip: 1 },
      { request, nth: 3, errno: 'EINTR', times: 50 },
    );
    expect(interrupted).toBe(mrtd());
  });

  it('give up resuming KVM_TDX_INIT_MEM_REGION after a hundred calls without a page', () => {
    using system = withFaults({ request: 'KVM_TDX_INIT_MEM_REGION', nth: 2, errno: 'EINTR', times: 1000 });
    const td = buildTd(system);
    addPages(td, 2);
    expect(refusal(() => addPages(td, 2, 2))).toMatchObject({ code: 'EINTR', pagesDone: 0 });
    td.vm.tdx.finalizeVm();
  });

  it('keep KVM_TDX_FINALIZE_VM from succeeding until a page that failed is added', () => {
    using system = withFaults({ request: 'KVM_TDX_INIT_MEM_REGION', nth: 1, status: 'TDX_OPERAND_BUSY', skip: 1 });
    const td = buildTd(system);
    expect(refusal(() => addPages(td, 3))).toMatchObject({ code: 'EBUSY', pagesDone: 1 });
    expect(refusal(() => td.vm.tdx.finalizeVm()).rule).toBe('kvm.finalize.premapped');
    addPages(td, 2, 1);
    td.vm.tdx.finalizeVm();
  });

  it('reach KVM_RUN: EINTR is the exit of a signal that was not ours, EAGAIN is tried again, others are errors', async () => {
    const request = 'KVM_RUN';
    const td = scriptedTd(
      function* () {
        yield out(0x80, 1);
      },
      {
        faults: [
          { request, nth: 1, errno: 'EINTR' },
          { request, nth: 2, errno: 'EBUSY' },
          { request, nth: 3, errno: 'EAGAIN', times: 2 },
        ],
      },
    );
    expect(await td.vcpu.run()).toEqual({ reason: 'intr' });
    await expect(td.vcpu.run()).rejects.toMatchObject({ code: 'EBUSY', request });
    expect(await td.vcpu.run()).toMatchObject({ reason: 'io' });
    td.close();
  });

  it('answer TDH.VP.ENTER with a status: KVM enters again while the module is busy', async () => {
    const td = scriptedTd(
      function* () {
        yield out(0x80, 1);
      },
      { faults: [{ request: 'KVM_RUN', nth: 1, status: '0x8000020000000080', times: 3 }] },
    );
    expect(await td.vcpu.run()).toMatchObject({ reason: 'io' });
    const entries = td.trace.filter(({ leaf }) => leaf === TDH.VP_ENTER);
    expect(entries.map(({ injected }) => injected)).toEqual([true, true, true, false]);
    td.close();
  });

  it.each([
    [{ request: 'INIT_VM', nth: 1, errno: 'EIO' }, /faults\[0\]\.request is "INIT_VM", expected a request/],
    [{ request: 'KVM_TDX_INIT_VM', nth: 0, errno: 'EIO' }, /faults\[0\]\.nth is 0, expected a whole number from 1/],
    [{ request: 'KVM_TDX_INIT_VM', nth: 1, errno: 'EWHAT' }, /faults\[0\]\.errno is "EWHAT", expected an errno/],
    [{ request: 'KVM_TDX_INIT_VM', nth: 1 }, /faults\[0\] has neither errno nor status/],
    [{ request: 'KVM_SET_CPUID2', nth: 1, status: '1' }, /faults\[0\]\.seamcall is undefined, expected a SEAMCALL/],
    [{ request: 'KVM_TDX_INIT_VM', nth: 1, status: 'BUSY' }, /faults\[0\]\.status is "BUSY", expected a u64 or a name/],
  ])('that cannot be are refused with where and what: %j', (fault, message) => {
    expect(() => withFaults(fault as Fault)).toThrow(FaultError);
    expect(() => withFaults(fault as Fault)).toThrow(message);
  });
});

describe('KeyIDs and the misc cgroup', () => {
  it('run out as on a host: the thirty-second TD gets ENOSPC, and a closed one makes room', () => {
    using system = openMock();
    const tds = Array.from({ length: 31 }, () => createTd(system));
    const last = system.createVm(5);
    expect(refusal(() => last.tdx.initVm(initParams()))).toMatchObject({ code: 'ENOSPC', rule: 'kvm.init-vm.keyid' });
    tds[7]!.close();
    last.tdx.initVm(initParams());
  });

  it('are shared by the systems of one host', () => {
    const base = loadProfile('spr-1.5.06');
    const host = new MockHost({ ...base, kernel: { ...base.kernel, keyIds: 1 } });
    using first = openMock({ host });
    using second = openMock({ host });
    createTd(first);
    expect(refusal(() => createTd(second)).code).toBe('ENOSPC');
    first.close();
    createTd(second);
    expect(host.stats()).toMatchObject({ tds: 1, keyIdsFree: 0 });
  });

  it('refuse a TD beyond misc.max with EBUSY, but grant one extra TD for every refusal, as KVM does', () => {
    const base = loadProfile('spr-1.5.06');
    using system = openMock({ profile: { ...base, kernel: { ...base.kernel, miscCgroupLimit: 1 } } });
    createTd(system);
    const vm = system.createVm(5);
    expect(refusal(() => vm.tdx.initVm(initParams()))).toMatchObject({
      code: 'EBUSY',
      rule: 'kvm.init-vm.misc-cgroup',
    });
    vm.tdx.initVm(initParams());
  });
});
