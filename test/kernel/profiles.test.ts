import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadRules } from '../../src/cpuid/index.js';
import { KVM_CAP } from '../../src/kvm/constants.js';
import {
  listProfiles,
  loadProfile,
  mockHostOf,
  openMock,
  type ProfileDocument,
  ProfileError,
} from '../../src/mock/index.js';
import { bundledPlatforms, loadPlatform } from '../../src/mock/platforms.js';
import { createTd, entry, gpaw, initParams, refusal, SEPT_VE_DISABLE } from './launch.js';

const open = (profile: string) => openMock({ profile });
const configurableLeaves = (version: string) => loadRules(version).entries.filter(({ config }) => config >= 0).length;
const hasTdx = (types: number) => (types & (1 << 5)) !== 0;

describe('the bundled profiles', () => {
  it('cover every bundled platform and every state of a kernel', () => {
    const platforms = new Set(listProfiles().map((name) => loadProfile(name).platform.name));
    expect([...platforms].sort()).toEqual(bundledPlatforms());
    expect(listProfiles()).toEqual(
      expect.arrayContaining(['spr-1.5.01', 'spr-1.5.05', 'spr-1.5.06', 'spr-1.5.06-max-vcpus']),
    );
  });

  it.each(listProfiles().filter((name) => name !== 'spr-1.5.01'))('%s builds a TD', (name) => {
    using system = open(name);
    expect(hasTdx(system.checkExtension(KVM_CAP.VM_TYPES))).toBe(true);
    expect(system.description).toContain(name);
    const { supportedAttrs, supportedXfam, cpuid } = createTd(system).tdx.capabilities();
    expect(supportedAttrs).toBe(SEPT_VE_DISABLE);
    expect(supportedXfam & 3n).toBe(3n);
    expect(cpuid).toHaveLength(configurableLeaves(loadProfile(name).module.version!));
  });

  it('offer no TDX with module 1.5.01, which Linux 6.16 cannot use, and say why', () => {
    using system = open('spr-1.5.01');
    expect(hasTdx(system.checkExtension(KVM_CAP.VM_TYPES))).toBe(false);
    expect(refusal(() => system.createVm(5))).toMatchObject({ code: 'EINVAL', rule: 'kvm.create-vm.type' });
    expect(system.description).toContain('MAX_VCPUS_PER_TD');
    system.createVm(0).close();
  });

  it('tell of the processor what KVM lets guests have', () => {
    using system = open('spr-1.5.06');
    const cpuid = system.getSupportedCpuid();
    const find = (leaf: number, index = 0) => cpuid.find((row) => row.function === leaf && row.index === index);
    expect(find(1)!.ecx & (1 << 21)).not.toBe(0);
    expect(find(1)!.ecx & (1 << 3)).toBe(0);
    expect(find(7)!.flags).toBe(1);
    expect((find(0x8000_0008)!.eax >>> 16) & 0xff).toBe(52);
    expect(find(0x4000_0000)).toMatchObject({ ebx: 0x4b4d564b, ecx: 0x564b4d56, edx: 0x4d });
    expect(find(0xd)!.eax).toBe(0xe7 | 0x200);
    expect(cpuid.length).toBeLessThan(256);
  });
});

describe('the maximum of vCPUs', () => {
  it('is the number of processors on Linux 6.16, which lets nobody change it', () => {
    using system = open('spr-1.5.06');
    const vm = system.createVm(5);
    expect(vm.checkExtension(KVM_CAP.MAX_VCPUS)).toBe(8);
    expect(refusal(() => vm.enableCap(KVM_CAP.MAX_VCPUS, [4n]))).toMatchObject({
      code: 'EINVAL',
      rule: 'kvm.max-vcpus.fixed',
    });
  });

  it('is what a VM asked for on a kernel with the per-VM proposal', () => {
    using system = open('spr-1.5.06-max-vcpus');
    const vm = system.createVm(5);
    expect(vm.checkExtension(KVM_CAP.MAX_VCPUS)).toBe(576);
    const set = (value: bigint, flags = 0) => refusal(() => vm.enableCap(KVM_CAP.MAX_VCPUS, [value], flags));
    expect(set(0n)).toMatchObject({ code: 'EINVAL', rule: 'kvm.max-vcpus.value' });
    expect(set(2n, 1)).toMatchObject({ code: 'EINVAL' });
    expect(set(577n)).toMatchObject({ code: 'E2BIG', rule: 'kvm.max-vcpus.limit' });
    vm.enableCap(KVM_CAP.MAX_VCPUS, [2n]);
    expect(vm.checkExtension(KVM_CAP.MAX_VCPUS)).toBe(2);
    vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
    vm.tdx.initVm(initParams());
    vm.createVcpu(0);
    vm.createVcpu(1);
    expect(refusal(() => vm.createVcpu(2)).rule).toBe('kvm.create-vcpu.max-vcpus');
    expect(set(3n)).toMatchObject({ code: 'EBUSY', rule: 'kvm.max-vcpus.before-vcpus' });
  });

  it('cannot be set on a plain VM of any kernel', () => {
    using system = open('spr-1.5.06-max-vcpus');
    expect(refusal(() => system.createVm(0).enableCap(KVM_CAP.MAX_VCPUS, [2n])).code).toBe('EINVAL');
  });
});

describe('a captured profile', () => {
  const { cpuid } = loadPlatform('gnr');
  const row = (leaf: number, index: number, values: object) => ({ ...entry(leaf, values), index });
  const captured: ProfileDocument = {
    schema: 1,
    name: 'my-host',
    description: 'Captured here.',
    origin: 'captured',
    kernel: {
      release: '6.17.0',
      presentCpus: 4,
      tscKhz: 2_400_000,
      vmTypes: 33,
      tdx: true,
      checkExtension: { 10: 509, 235: 33 },
    },
    module: { version: '1.5.99' },
    platform: { name: 'my-host', cpuid },
    capabilities: {
      supportedAttrs: '0x10000000',
      supportedXfam: '0xe7',
      userTdvmcallinfo1R11: '0x2',
      cpuid: [
        row(0x8000_0008, 0, { eax: 0xff_0000 }),
        row(1, 0, { eax: 0xfff_3fff, ecx: 0x8 }),
        row(0x18, 1, { edx: 0x3ff_c000 }),
      ],
    },
    supportedCpuid: [entry(1, { ecx: 1 << 21 })],
  };

  it('reports what its kernel reported, and says what it could not know', () => {
    using system = openMock({ profile: loadProfile(captured) });
    expect(system.checkExtension(KVM_CAP.NR_MEMSLOTS)).toBe(509);
    expect(system.description).toMatch(/my-host.*Not captured, taken from platform gnr: MSRs .*firmware/s);
    expect(system.getSupportedCpuid()).toEqual(captured.supportedCpuid);
    const vm = system.createVm(5);
    expect(vm.getTscKhz()).toBe(2_400_000);
    expect(vm.checkExtension(KVM_CAP.MAX_VCPUS)).toBe(4);
    expect(vm.tdx.capabilities()).toMatchObject({ supportedXfam: 0xe7n, cpuid: captured.capabilities!.cpuid });
  });

  it('lets its capabilities win over the rules of the module, in both directions', () => {
    using system = openMock({ profile: loadProfile(captured) });
    const init = (row: ReturnType<typeof entry>) => {
      const vm = system.createVm(5);
      try {
        vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
        vm.tdx.initVm({ ...initParams(), cpuid: [gpaw(48), row] });
        return vm.createVcpu(0).tdx.getCpuid();
      } finally {
        vm.close();
      }
    };
    const leaf1 = (rows: ReturnType<typeof init>) => rows.find((found) => found.function === 1)!;
    expect(leaf1(init(entry(1, { ecx: 8 }))).ecx & 8).toBe(8);
    expect(refusal(() => init(entry(1, { ebx: 0x10000 })))).toMatchObject({
      code: 'EINVAL',
      tdxStatus: { operand: 'CPUID_CONFIG' },
    });
    expect(refusal(() => init(entry(7, {}))).rule).toBe('kvm.init-vm.leaf-configurable');
    init({ ...entry(0x18, { edx: 0x4000 }), index: 1, flags: 1 });
  });
});

describe('a profile that cannot be used', () => {
  const good: ProfileDocument = {
    schema: 1,
    name: 'x',
    description: 'y',
    origin: 'synthetic',
    kernel: { release: '6.16.1', presentCpus: 8, tscKhz: 2_000_000, vmTypes: 1, tdx: true },
    module: { version: '1.5.06' },
    platform: 'spr',
  };
  const load = (change: object) => () => loadProfile({ ...good, ...change } as ProfileDocument);

  it.each([
    [{ schema: 2 }, /schema is 2, expected 1/],
    [{ origin: 'made up' }, /origin is "made up", expected 'synthetic' or 'captured'/],
    [{ kernel: { ...good.kernel, tscKhz: '2 GHz' } }, /kernel\.tscKhz is "2 GHz", expected a whole number/],
    [{ kernel: undefined }, /kernel is missing, expected an object/],
    [{ platform: 'sapphire' }, /platform is "sapphire", expected one of gnr, spr/],
    [{ platform: { name: 'p', cpuid: [], msr: {} } }, /platform .*sys: expected an object/],
    [
      { capabilities: { supportedAttrs: '0x1', supportedXfam: 3, cpuid: [{ function: 1 }] } },
      /cpuid\[0\]\.index is missing/,
    ],
    [{ faults: [{ request: 'KVM_RUN', nth: 1, errno: 'E' }] }, /'x': faults\[0\]\.errno is "E", expected an errno/],
    [{ capabilities: { supportedAttrs: 'all', supportedXfam: 3, cpuid: [] } }, /capabilities\.supportedAttrs is "all"/],
  ])('is refused with its place in the document: %j', (change, message) => {
    expect(load(change)).toThrow(ProfileError);
    expect(load(change)).toThrow(message);
  });

  it('is refused with the file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kvm-tdx-'));
    try {
      const file = join(folder, 'host.json');
      writeFileSync(file, '{');
      expect(() => loadProfile(file)).toThrow(`${file} is not JSON`);
      writeFileSync(file, JSON.stringify({ ...good, name: 7 }));
      expect(() => loadProfile(file)).toThrow(`${file}: name is 7, expected a string`);
      writeFileSync(file, JSON.stringify(good));
      using system = openMock({ profile: file });
      expect(mockHostOf(system)!.profile.name).toBe('x');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is refused with the profiles that there are', () => {
    expect(() => loadProfile('spr-9')).toThrow(/no profile 'spr-9' \(ENOENT\), expected a file or one of gnr-1.5.06/);
  });
});
