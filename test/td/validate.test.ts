import { expect, test } from 'vitest';
import { RULES } from '../../src/rulebook/index.js';
import type { Finding } from '../../src/td/finding.js';
import type { TdHostFacts } from '../../src/td/host-facts.js';
import type { TdConfig } from '../../src/td/schema.js';
import { validateTd } from '../../src/td/validate.js';
import { spr, spr1506, vectorHost } from './hosts.js';

const line = ({ severity, path, rule }: Finding) => `${severity} ${path} ${rule}`;
const say = (config: TdConfig, host: TdHostFacts = spr) => validateTd(config, host).map(line);
const whats = (config: TdConfig, host: TdHostFacts = spr) => validateTd(config, host).map(({ what }) => what);
const offering = (capabilities: Partial<TdHostFacts['capabilities']>): TdHostFacts => ({
  ...spr,
  capabilities: { ...spr.capabilities, ...capabilities },
});

test.each(['spr', 'gnr', 'spr_nola57', 'spr_lass'] as const)(
  'the defaults have nothing wrong with them on %s',
  (profile) => {
    expect(say({}, vectorHost(profile))).toEqual([]);
    expect(say({ cpuidBase: 'zero', xfam: [] }, vectorHost(profile))).toEqual([]);
  },
);

test('attributes that the host does not offer are named', () => {
  expect(say({ attributes: ['DEBUG', 'SEPT_VE_DISABLE'] })).toEqual([
    'error attributes kvm.init-vm.attributes-supported',
  ]);
  expect(whats({ attributes: ['DEBUG', 'SEPT_VE_DISABLE'] })).toEqual([
    'attributes 0x10000001 has DEBUG (bit 0), which this host does not support (supported_attrs 0x10000000)',
  ]);
});

test('MIGRATABLE excludes DEBUG and PERFMON, ICSSD excludes PERFMON', () => {
  const host = offering({ supportedAttrs: (1n << 64n) - 1n });
  expect(say({ attributes: ['SEPT_VE_DISABLE', 'MIGRATABLE', 'DEBUG'] }, host)).toEqual([
    'error attributes module.mng-init.migratable-exclusions',
  ]);
  expect(say({ attributes: ['SEPT_VE_DISABLE', 'MIGRATABLE', 'PERFMON', 'ICSSD'] }, host)).toEqual([
    'error attributes module.mng-init.migratable-exclusions',
    'error attributes module.mng-init.icssd-perfmon',
  ]);
});

test('Linux guests need SEPT_VE_DISABLE', () => {
  expect(say({ attributes: [] })).toEqual(['warning attributes trap.sept-ve-disable']);
});

test('XFAM bits that the host does not offer are named', () => {
  expect(whats({ xfam: ['CET', 'AVX'] })).toEqual([
    'xfam 0x1807 has CET_U (bit 11), CET_S (bit 12), which this host does not support (supported_xfam 0x602e7)',
  ]);
});

test.each<[string, TdConfig['xfam'], string]>([
  ['AVX-512 in part', ['AVX', 'OPMASK', 'ZMM_HI256'], 'error xfam module.mng-init.xfam-avx512'],
  ['AVX-512 without AVX', 0xe3, 'error xfam module.mng-init.xfam-avx512'],
  ['CET in part', '0x800', 'error xfam module.mng-init.xfam-cet'],
  ['AMX in part', ['XTILECFG'], 'error xfam module.mng-init.xfam-amx'],
])('%s is refused', (_, xfam, expected) => {
  expect(say({ xfam: xfam! }, offering({ supportedXfam: 0x6fbffn }))).toEqual([expected]);
});

test('GPAW 52 needs 5-level EPT; where the kernel does not say, it is a warning', () => {
  expect(say({ gpaw: 52 }, spr)).toEqual([]);
  expect(say({ gpaw: 52 }, vectorHost('spr_nola57'))).toEqual(['error gpaw kvm.init-vm.gpaw-5level']);
  expect(say({ gpaw: 52 }, { ...spr, fiveLevelEpt: undefined })).toEqual(['warning gpaw kvm.init-vm.gpaw-5level']);
});

test('GPAW 52 needs more than 48 physical address bits', () => {
  const supportedCpuid = spr.supportedCpuid.map((row) => (row.function === 0x80000008 ? { ...row, eax: 0x302e } : row));
  const host = { ...spr, supportedCpuid, fiveLevelEpt: undefined };
  expect(say({ gpaw: 52 }, host)).toEqual(['error gpaw module.mng-init.eptp-controls']);
});

test.each<[number, string[]]>([
  [100_000, []],
  [10_000_000, []],
  [99_999, ['error tscKhz module.mng-init.tsc-frequency']],
  [10_025_000, ['error tscKhz module.mng-init.tsc-frequency']],
  [2_000_001, ['warning tscKhz trap.tsc-rounded']],
  [1_640_400_000, ['error tscKhz trap.tsc-wraps']],
  [1_638_400_000, ['error tscKhz module.mng-init.tsc-frequency']],
])('a TSC frequency of %d kHz: %j', (tscKhz, expected) => {
  expect(say({ tscKhz })).toEqual(expected);
});

test('a host whose TSC is no multiple of 25 MHz is worth a note', () => {
  expect(say({}, { ...spr, tscKhz: 1_996_250 })).toEqual(['note tscKhz trap.tsc-rounded']);
});

test('a leaf that cannot be configured is refused, and the leaves that can are named', () => {
  const [only] = validateTd({ cpuid: [{ leaf: 6, eax: 1 }] }, spr);
  expect(line(only!)).toBe('error cpuid[0] kvm.init-vm.leaf-configurable');
  expect(only!.fix).toContain('0x1, 0x4, 0x7, 0xa, 0x1c, 0x80000008, 0x23, 0x1f');
});

test('a leaf that is given twice is refused', () => {
  const cpuid = [{ leaf: 7, subleaf: 1 }, { leaf: 0x1c }, { leaf: '0x7', subleaf: '0x1' }];
  expect(say({ cpuid })).toEqual(['error cpuid[2] kvm.init-vm.leaf-configurable']);
});

test('bits outside the mask are named, at the register that has them', () => {
  const config: TdConfig = { cpuid: [{ leaf: 7, subleaf: 1, eax: 0x20_0010, ecx: 1 }] };
  expect(say(config)).toEqual([
    'error cpuid[0].eax module.mng-init.cpuid-config',
    'error cpuid[0].ecx module.mng-init.cpuid-config',
  ]);
  expect(whats(config)).toEqual([
    'CPUID(0x7,1).EAX has AMX_FP16 (bit 21), which cannot be configured on this host',
    'CPUID(0x7,1).ECX has bit 0, which cannot be configured on this host',
  ]);
});

test('a feature that cannot be configured is reported under its name', () => {
  expect(say({ features: { AMX_FP16: true } })).toEqual(['error features.AMX_FP16 module.mng-init.cpuid-config']);
  expect(say({ features: { 'amx-fp16': true } })).toEqual(['error features["amx-fp16"] module.mng-init.cpuid-config']);
});

test('a feature that is to be off but is not ours to turn off is a note', () => {
  expect(say({ features: { SSE2: false, BMI2: false } })).toEqual(['note features.SSE2 module.mng-init.cpuid-config']);
});

test('KVM denies TSX and WAITPKG to TDs', () => {
  expect(say({ features: { HLE: true, RTM: true, WAITPKG: true } })).toEqual([
    'error features.RTM kvm.init-vm.tsx-waitpkg',
    'error features.WAITPKG kvm.init-vm.tsx-waitpkg',
  ]);
});

test('HLE and RTM are equal', () => {
  expect(say({ features: { HLE: true } })).toEqual([
    'error features.HLE kvm.init-vm.tsx-waitpkg',
    'error features.HLE module.mng-init.hle-rtm',
  ]);
});

test('a kernel that offers TSX leaves TSX_CTRL unknown', () => {
  const cpuid = spr.capabilities.cpuid.map((row) =>
    row.function === 7 && row.index === 0 ? { ...row, ebx: (row.ebx | 0x810) >>> 0 } : row,
  );
  const host = offering({ cpuid });
  expect(say({ features: { HLE: true, RTM: true } }, host)).toEqual(['warning features.RTM module.mng-init.tsx-ctrl']);
});

test('family, model and stepping are the platform’s', () => {
  const eax = (value: number) => say({ cpuid: [{ leaf: 1, eax: value }] });
  expect(eax(0)).toEqual([]);
  expect(eax(0x806f8)).toEqual([]);
  expect(eax(0x906f8)).toEqual(['error cpuid[0].eax module.mng-init.fms']);
  expect(eax(0x806f9)).toEqual(['error cpuid[0].eax module.mng-init.fms']);
  expect(eax(0x806f4)).toEqual(['warning cpuid[0].eax module.mng-init.fms']);
});

test('of a migratable TD only the module knows which older platforms it may name', () => {
  const host = offering({ supportedAttrs: 0x30000000n });
  const attributes = ['SEPT_VE_DISABLE', 'MIGRATABLE'] as const;
  expect(say({ attributes: [...attributes], cpuid: [{ leaf: 1, eax: 0x706f8 }] }, host)).toEqual([
    'warning cpuid[0].eax module.mng-init.fms',
  ]);
});

test('MAXPA is refused by modules before 1.5.06 and ignored by later ones', () => {
  expect(say({ features: { MAXPA: 46 } })).toEqual(['error features.MAXPA module.mng-init.cpuid-config']);
  expect(say({ features: { MAXPA: 46 } }, spr1506)).toEqual(['note features.MAXPA module.mng-init.maxpa']);
});

test('a topology has CORE, ascending level types, and a used sub-leaf 0', () => {
  const topology = (...ecx: number[]) =>
    say({ cpuidBase: 'zero', cpuid: ecx.map((value, subleaf) => ({ leaf: 0x1f, subleaf, ecx: value })) });
  expect(topology(0x100, 0x201)).toEqual([]);
  expect(topology(0, 0)).toEqual([]);
  expect(topology(0x100, 0x301)).toEqual(['error cpuid[0] module.mng-init.topology']);
  expect(topology(0x200, 0x101)).toContain('error cpuid[0] module.mng-init.topology');
  expect(topology(0, 0x201)).toEqual(['error cpuid[0] module.mng-init.topology']);
  expect(topology(0x200, 0x601)).toEqual(['error cpuid[0] module.mng-init.topology']);
});

test('numbers of sub-leaves matter to modules since 1.5.06, which configurable MAXPA gives away', () => {
  const config: TdConfig = {
    cpuidBase: 'zero',
    cpuid: [
      { leaf: 0x1f, subleaf: 0, ecx: 0x100 },
      { leaf: 0x1f, subleaf: 1, ecx: 0x200 },
    ],
  };
  expect(say(config)).toEqual(['warning cpuid[0] module.mng-init.topology-sub-leaf']);
  expect(say(config, spr1506)).toEqual(['error cpuid[0] module.mng-init.topology-sub-leaf']);
});

test('more vCPUs than the VM may have are refused with the limit and its reason', () => {
  const [only] = validateTd({ vcpus: 9 }, spr);
  expect(line(only!)).toBe('error vcpus trap.max-vcpus-kernel');
  expect(only!.what).toBe(
    'vcpus is 9, more than the 8 that a TD on this host may have: this kernel fixes it at 8 for every TD, ' +
      "the smaller of KVM's limit and the present processors",
  );
});

test('fewer are kept by the library, and TD_PARAMS holds the number of the kernel', () => {
  const [only] = validateTd({ maxVcpus: 4 }, spr);
  expect(line(only!)).toBe('warning maxVcpus trap.max-vcpus-kernel');
  expect(only!.what).toContain('TD_PARAMS.MAX_VCPUS will hold 8');
  expect(say({ maxVcpus: 8 })).toEqual([]);
  expect(say({ vcpus: 4 })).toEqual([]);
});

test('where the kernel lets a VM set it, only the limits of KVM and of the module count', () => {
  const host = { ...spr, maxVcpusSettable: true };
  expect(say({ maxVcpus: 4 }, host)).toEqual([]);
  expect(say({ maxVcpus: 64 }, host)).toEqual([]);
  expect(say({ maxVcpus: 577 }, host)).toEqual(['warning maxVcpus module.mng-init.max-vcpus']);
  expect(say({ maxVcpus: 1025 }, host)).toEqual(['error maxVcpus trap.max-vcpus-kernel']);
});

test('vcpus is at most maxVcpus', () => {
  expect(say({ vcpus: 4, maxVcpus: 2 })).toEqual([
    'error vcpus config.vcpus-above-max',
    'warning maxVcpus trap.max-vcpus-kernel',
  ]);
});

test('the same bits with two values are a conflict', () => {
  expect(say({ features: { BMI2: true }, cpuid: [{ leaf: 7, ebx: 0 }] })).toEqual([
    'error features.BMI2 config.conflict',
  ]);
  expect(say({ gpaw: 48, cpuid: [{ leaf: '0x80000008', eax: '0x340000' }] })).toEqual([
    'error cpuid[0].eax config.conflict',
  ]);
  expect(say({ gpaw: 52, cpuid: [{ leaf: '0x80000008', eax: '0x340000' }] })).toEqual([]);
  expect(say({ features: { GPAW: 52 } })).toEqual(['error features.GPAW config.conflict']);
});

test('a host without leaf 0x80000008 among its leaves can make no TD', () => {
  const cpuid = spr.capabilities.cpuid.filter((row) => row.function !== 0x80000008);
  expect(say({}, offering({ cpuid }))).toEqual(['error cpuid kvm.init-vm.gpaw-leaf']);
});

test('everything is found at once, errors first, each with the reason and the fix of the rulebook', () => {
  const config = { vcpus: 99, attributes: ['DEBUG'], xfam: 0x20, gpaw: 40, tscKhz: 1, features: { NOPE: 1, HLE: 1 } };
  const findings = validateTd(config as unknown as TdConfig, spr);
  expect(findings.map(({ rule }) => rule)).toEqual([
    'config.range',
    'config.unknown-name',
    'trap.max-vcpus-kernel',
    'kvm.init-vm.attributes-supported',
    'module.mng-init.xfam-avx512',
    'module.mng-init.tsc-frequency',
    'kvm.init-vm.tsx-waitpkg',
    'module.mng-init.hle-rtm',
    'trap.sept-ve-disable',
  ]);
  for (const { rule, why, fix } of findings) {
    expect(why).toBe(RULES[rule].what);
    expect(fix.length).toBeGreaterThan(5);
  }
});
