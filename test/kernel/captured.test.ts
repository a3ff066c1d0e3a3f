import { describe, expect, it } from 'vitest';
import { KVM_CAP } from '../../src/kvm/constants.js';
import { loadProfile, openMock, type ProfileDocument } from '../../src/mock/index.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { initParams } from './launch.js';

const document = (change: Partial<ProfileDocument>): ProfileDocument => ({
  schema: 1,
  name: 'my-host',
  description: 'Captured here.',
  origin: 'captured',
  kernel: { release: '6.17.0', presentCpus: 4, tscKhz: 2_400_000, vmTypes: 1, tdx: true },
  module: {},
  platform: { name: 'my-host', cpuid: loadPlatform('spr').cpuid },
  ...change,
});

describe('a captured host', () => {
  it('whose CPUID the rules of the model do not start on still offers TDs, on a stand-in that the description names', () => {
    const cpuid = loadPlatform('spr').cpuid.map((row) => (Number(row.leaf) === 7 ? { ...row, ecx: 0 } : row));
    using system = openMock({ profile: loadProfile(document({ platform: { name: 'my-host', cpuid } })) });
    expect(system.description).toMatch(/does not start on its CPUID \(TDH\.SYS\.INIT: .*platform spr stands in/);
    system.createVm(5).tdx.initVm(initParams());
  });

  it('has no capability that its kernel did not report, on a VM neither', () => {
    const kernel = {
      ...document({}).kernel,
      checkExtension: { [KVM_CAP.NR_MEMSLOTS]: 509, [KVM_CAP.MAX_VCPUS]: 4096 },
    };
    using system = openMock({ profile: loadProfile(document({ kernel })) });
    const vm = system.createVm(5);
    for (const kvm of [system, vm]) {
      expect(kvm.checkExtension(KVM_CAP.X86_APIC_BUS_CYCLES_NS)).toBe(0);
      expect(kvm.checkExtension(KVM_CAP.NR_MEMSLOTS)).toBe(509);
    }
    expect(system.checkExtension(KVM_CAP.MAX_VCPUS)).toBe(4096);
    expect(vm.checkExtension(KVM_CAP.MAX_VCPUS)).toBe(4);
  });
});
