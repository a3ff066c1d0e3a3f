// What KVM takes for a TD and what not, by its own limits.
import { expect, it } from 'vitest';
import { KVM_CAP, KVM_X86_TDX_VM } from '../../src/kvm/constants.js';
import type { CpuidEntry, KvmSystem, KvmVm } from '../../src/kvm/index.js';
import { createTd, entry, initParams } from '../kernel/launch.js';
import { describeOnTdx } from './backends.js';
import { expectErrno } from './expect-refusal.js';

const newTd = (system: KvmSystem): KvmVm => system.createVm(KVM_X86_TDX_VM);
const withCpuid = (...entries: CpuidEntry[]) => ({ ...initParams(), cpuid: [...initParams().cpuid, ...entries] });
const flagged = (leaf: number, index: number): CpuidEntry => entry(leaf, { index, flags: 1 });

describeOnTdx('the limits of a TD', (use) => {
  it.each([
    ['KVM_CAP_X2APIC_API', KVM_CAP.X2APIC_API, 3],
    ['KVM_CAP_EXIT_HYPERCALL', KVM_CAP.EXIT_HYPERCALL, 0x1000],
    ['KVM_CAP_X86_APIC_BUS_CYCLES_NS', KVM_CAP.X86_APIC_BUS_CYCLES_NS, 1],
    ['KVM_CAP_MAX_VCPU_ID', KVM_CAP.MAX_VCPU_ID, 4096],
    ['KVM_CAP_SPLIT_IRQCHIP', KVM_CAP.SPLIT_IRQCHIP, 1],
  ])('answers %s as KVM does for a TD', (_, capability, value) => {
    expect(newTd(use()).checkExtension(capability)).toBe(value);
  });

  it.each<[string, string, (td: KvmVm) => void]>([
    ['an unknown capability', 'EINVAL', (td) => td.enableCap(0x7fff_ffff)],
    ['flags', 'EINVAL', (td) => td.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n], 1)],
    ['KVM_CAP_MAX_VCPUS, as older VMMs ask for', 'EINVAL', (td) => td.enableCap(KVM_CAP.MAX_VCPUS, [1n])],
    ['more than 4096 pins', 'EINVAL', (td) => td.enableCap(KVM_CAP.SPLIT_IRQCHIP, [4097n])],
    ['unknown bits of X2APIC_API', 'EINVAL', (td) => td.enableCap(KVM_CAP.X2APIC_API, [4n])],
    ['hypercalls other than MAP_GPA_RANGE', 'EINVAL', (td) => td.enableCap(KVM_CAP.EXIT_HYPERCALL, [0x2000n])],
    ['an APIC bus cycle of 0 ns', 'EINVAL', (td) => td.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [0n])],
    ['one whose timer overflows', 'EINVAL', (td) => td.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [33_554_433n])],
    ['one without an irqchip', 'ENXIO', (td) => td.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [40n])],
    ['more than 4096 vCPU ids', 'EINVAL', (td) => td.enableCap(KVM_CAP.MAX_VCPU_ID, [4097n])],
  ])('KVM_ENABLE_CAP refuses %s: %s', (_, code, enable) => {
    const td = newTd(use());
    expectErrno(code, 'KVM_ENABLE_CAP', () => enable(td));
  });

  it('splits the irqchip once, before it has vCPUs; sets the APIC bus clock before them, KVM_CAP_EXIT_HYPERCALL ever', () => {
    const td = createTd(use());
    const split = () => td.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
    expectErrno('EEXIST', 'KVM_ENABLE_CAP', split);
    const bus = () => td.enableCap(KVM_CAP.X86_APIC_BUS_CYCLES_NS, [40n]);
    bus();
    td.createVcpu(0);
    expectErrno('EINVAL', 'KVM_ENABLE_CAP', bus);
    expectErrno('EEXIST', 'KVM_ENABLE_CAP', split);
    td.enableCap(KVM_CAP.EXIT_HYPERCALL, [0x1000n]);
    td.enableCap(KVM_CAP.X2APIC_API, [3n]);
  });

  it('takes KVM_CAP_MAX_VCPU_ID once; a KVM_CREATE_VCPU that fails has set it, too', () => {
    const td = createTd(use());
    td.enableCap(KVM_CAP.MAX_VCPU_ID, [2n]);
    td.enableCap(KVM_CAP.MAX_VCPU_ID, [2n]);
    expectErrno('EINVAL', 'KVM_ENABLE_CAP', () => td.enableCap(KVM_CAP.MAX_VCPU_ID, [3n]));
    expectErrno('EINVAL', 'KVM_CREATE_VCPU', () => td.createVcpu(2));
    const tried = newTd(use());
    expectErrno('EIO', 'KVM_CREATE_VCPU', () => tried.createVcpu(0));
    expectErrno('EINVAL', 'KVM_ENABLE_CAP', () => tried.enableCap(KVM_CAP.MAX_VCPU_ID, [8n]));
  });

  it('refuses TSC frequencies of 2^31 - 1 kHz and more', () => {
    const td = newTd(use());
    for (const khz of [0x7fff_ffff, 0xffff_ffff]) expectErrno('EINVAL', 'KVM_SET_TSC_KHZ', () => td.setTscKhz(khz));
  });

  it('KVM_TDX_INIT_VM takes junk and duplicates for entries that one without flags has matched: KVM compares counts', () => {
    const slots = newTd(use())
      .tdx.capabilities()
      .cpuid.filter((row) => row.function === 4).length;
    expect(slots).toBeGreaterThan(1);
    const junk = Array.from({ length: slots - 1 }, (_, i) => flagged(0x4000_0000, i));
    newTd(use()).tdx.initVm(withCpuid(entry(4), ...junk));
    expectErrno('EINVAL', 'KVM_TDX_INIT_VM', () => newTd(use()).tdx.initVm(withCpuid(entry(4), ...junk.slice(1))));
  });

  it('KVM_TDX_INIT_VM counts the entries before it looks at anything else', () => {
    const many = Array.from({ length: 257 }, (_, index) => flagged(0x4000_0000, index));
    const wrong = { ...initParams(), attributes: 1n << 62n, xfam: 0n, cpuid: many };
    expectErrno('E2BIG', 'KVM_TDX_INIT_VM', () => newTd(use()).tdx.initVm(wrong));
  });
});
