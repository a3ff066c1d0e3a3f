import { afterEach, beforeEach, expect, it } from 'vitest';
import type { KvmSystem } from '../../src/kvm/index.js';
import { describeOnKernel, kernel } from '../contract/backends.js';
import { HLT, protectedMode } from './guest.js';

const KVM_CAP_X86_USER_SPACE_MSR = 188;
const PAT = 0x277;
const APIC_BASE = 0x1b;

describeOnKernel('what an engine for TDs needs of a plain VM', () => {
  let system: KvmSystem;
  beforeEach(() => {
    system = kernel.open();
  });
  afterEach(() => system.close());

  const filtered = (code: readonly number[]) => {
    const guest = protectedMode(system, code);
    guest.vm.enableCap(KVM_CAP_X86_USER_SPACE_MSR, [7n]);
    const ranges = [{ first: PAT, last: PAT, read: true, write: true, allow: true }];
    guest.vm.setMsrFilter({ denyOthers: true, ranges });
    return guest;
  };

  it('RDMSR of a filtered MSR is an exit whose reply the guest reads; an allowed one is none', async () => {
    // mov ecx, PAT; rdmsr; mov ecx, APIC_BASE; rdmsr; hlt
    const code = [0xb9, 0x77, 2, 0, 0, 0x0f, 0x32, 0xb9, APIC_BASE, 0, 0, 0, 0x0f, 0x32, HLT];
    const { vcpu } = filtered(code);
    expect(await vcpu.run()).toEqual({ reason: 'x86-rdmsr', index: APIC_BASE, why: 4 });
    expect(vcpu.getRegs().rax).toBe(0x0007_0406n);
    await expect(vcpu.run({ reply: { ret: 1n } })).rejects.toThrow(/reply\.ret/);
    const msr = { error: false, data: 0x1_0000_0002n };
    expect(await vcpu.run({ reply: { msr } })).toEqual({ reason: 'hlt' });
    expect(vcpu.getRegs()).toMatchObject({ rax: 2n, rdx: 1n });
    await expect(vcpu.run({ reply: { msr } })).rejects.toThrow(/no access to an MSR/);
  });

  it('WRMSR of a filtered MSR hands over its value, and is a #GP without a reply', async () => {
    // mov ecx, APIC_BASE; mov eax, 5; mov edx, 6; wrmsr; hlt
    const { vcpu } = filtered([0xb9, APIC_BASE, 0, 0, 0, 0xb8, 5, 0, 0, 0, 0xba, 6, 0, 0, 0, 0x0f, 0x30, HLT]);
    expect(await vcpu.run()).toEqual({ reason: 'x86-wrmsr', index: APIC_BASE, why: 4, data: 0x6_0000_0005n });
    expect(await vcpu.run()).toEqual({ reason: 'shutdown' });
  });

  it('a filter is refused with the argument that is wrong', () => {
    const vm = system.createVm(0);
    const range = { first: 1, last: 2, read: true, write: true, allow: true };
    const set = (filter: unknown) => () => vm.setMsrFilter(filter as Parameters<typeof vm.setMsrFilter>[0]);
    expect(set({ denyOthers: 1, ranges: [] })).toThrow(/filter\.denyOthers must be a boolean/);
    expect(set({ denyOthers: true, ranges: [{ ...range, last: 0 }] })).toThrow(/filter\.ranges\[0\]\.last/);
    expect(set({ denyOthers: true, ranges: Array(17).fill(range) })).toThrow(/at most 16 ranges/);
    expect(set({ denyOthers: true, ranges: [] })).toThrow(/EINVAL.*KVM_X86_SET_MSR_FILTER/);
  });

  it('a run that only completes finishes what the last exit began, and executes nothing more', async () => {
    // in al, 0x10; inc eax; hlt
    const { vcpu } = protectedMode(system, [0xe4, 0x10, 0x40, HLT]);
    const { rip } = vcpu.getRegs();
    expect(await vcpu.run()).toMatchObject({ reason: 'io', direction: 'in' });
    expect(await vcpu.run({ completeOnly: true, reply: { data: Uint8Array.of(7) } })).toEqual({ reason: 'intr' });
    expect(vcpu.getRegs()).toMatchObject({ rax: 7n, rip: rip + 2n });
    expect(await vcpu.run()).toEqual({ reason: 'hlt' });
    expect(vcpu.getRegs().rax).toBe(8n);
  });

  it('XSAVE, XCR0 and events come back as they were set', () => {
    const { vcpu } = protectedMode(system, [HLT]);
    vcpu.setCpuid2(system.getSupportedCpuid());
    const xsave = vcpu.getXsave();
    expect(xsave).toHaveLength(4096);
    new DataView(xsave.buffer).setUint16(0, 0x27f, true);
    xsave[512]! |= 1;
    vcpu.setXsave(xsave);
    expect(new DataView(vcpu.getXsave().buffer).getUint16(0, true)).toBe(0x27f);
    vcpu.setXcrs([{ xcr: 0, value: 3n }]);
    expect(vcpu.getXcrs()).toEqual([{ xcr: 0, value: 3n }]);
    expect(() => vcpu.setXsave(new Uint8Array(512))).toThrow(/xsave must be 4096 bytes/);
    const events = vcpu.getVcpuEvents();
    expect(events.exception).toMatchObject({ injected: 0, pending: 0 });
    vcpu.setVcpuEvents(events);
    expect(vcpu.getVcpuEvents()).toEqual(events);
  });
});
