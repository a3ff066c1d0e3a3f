import { describe, expect, it } from 'vitest';
import { bundledVersions, loadRules } from '../../src/cpuid/index.js';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { bootModule, MODULE_STOPPED, type ModuleBoot } from '../../src/mock/module/boot.js';
import type { Platform, PlatformCpuidRow } from '../../src/mock/platform.js';
import { bundledPlatforms, loadPlatform } from '../../src/mock/platforms.js';
import { readVectors } from '../vectors/read.js';

function boot(version: string, platform: Platform): ModuleBoot {
  const result = bootModule(loadRules(version), platform);
  if (!result.ok) throw new Error(`${result.call}: ${decodeTdxStatus(result.status).text}`);
  return result.module;
}

type Change = {
  cpuid?: [number, number | null, Partial<PlatformCpuidRow>];
  msr?: Record<string, string>;
  sys?: object;
};

/** `spr` with some values changed. */
function changed({ cpuid, msr, sys }: Change): Platform {
  const platform = structuredClone(loadPlatform('spr'));
  platform.msr = { ...platform.msr, ...msr };
  platform.sys = { ...platform.sys, ...sys };
  if (!cpuid) return platform;
  const [leaf, subleaf, values] = cpuid;
  const isRow = (row: PlatformCpuidRow): boolean =>
    Number(row.leaf) === leaf && (row.subleaf === null ? null : Number(row.subleaf)) === subleaf;
  platform.cpuid = platform.cpuid.map((row) => (isRow(row) ? { ...row, ...values } : row));
  return platform;
}

const refusal = (version: string, change: Change): unknown => {
  const result = bootModule(loadRules(version), changed(change));
  if (result.ok) return 'started';
  const { status, ok: _, ...rest } = result;
  return { ...rest, status: status === MODULE_STOPPED ? 'stopped' : decodeTdxStatus(status).name };
};

interface Table {
  profile: string;
  limits: Record<string, string | number>;
  tdh_sys_rd: Record<string, unknown> & { cpuid_config: TableLeaf[] };
  tdh_sys_info: { cpuid_config: TableLeaf[] };
  cpuid_lookup: { leaf: string; subleaf: string | null; valid_entry: boolean; sampled: Record<string, string> }[];
}
interface TableLeaf {
  leaf: string;
  subleaf: string | null;
  mask: Record<'eax' | 'ebx' | 'ecx' | 'edx', string>;
}

describe('a module that starts reports what Intel’s module reports', () => {
  const tables = [
    ['1.5.01', 'cpuid_table.json.gz'],
    ['1.5.01', 'cpuid_table_gnr.json.gz'],
    ['1.5.05', 'cpuid_table_1.5.05.json.gz'],
    ['1.5.06', 'cpuid_table_1.5.06.json.gz'],
  ].map(([version, file]) => [version!, file!, JSON.parse(readVectors(file!)) as Table] as const);

  const leaves = (list: TableLeaf[]): unknown =>
    list.map(({ leaf, subleaf, mask }) => ({
      leaf: Number(leaf),
      subleaf: subleaf === null ? null : Number(subleaf),
      eax: Number(mask.eax),
      ebx: Number(mask.ebx),
      ecx: Number(mask.ecx),
      edx: Number(mask.edx),
    }));

  it.each(tables)('%s, %s: TDH.SYS.RD and TDH.SYS.INFO', (version, _, table) => {
    const { sysInfo } = boot(version, loadPlatform(table.profile));
    const rd = table.tdh_sys_rd;
    expect(sysInfo).toMatchObject({
      attributesFixed0: BigInt(rd['attributes_fixed0'] as string),
      attributesFixed1: BigInt(rd['attributes_fixed1'] as string),
      xfamFixed0: BigInt(rd['xfam_fixed0'] as string),
      xfamFixed1: BigInt(rd['xfam_fixed1'] as string),
      configFlagsFixed0: BigInt(rd['config_flags_fixed0'] as string),
      configFlagsFixed1: BigInt(rd['config_flags_fixed1'] as string),
      tdxFeatures0: BigInt(rd['tdx_features0'] as string),
      archCapabilitiesConfigMask: BigInt(rd['ia32_arch_capabilities_config_mask'] as string),
    });
    const number = (value: unknown): number | undefined =>
      Number.isInteger(Number(value)) ? Number(value) : undefined;
    expect(sysInfo.maxVcpusPerTd).toBe(number(rd['max_vcpus_per_td']));
    expect(sysInfo.minVirtMaxpa).toBe(number(rd['min_virt_maxpa']));
    expect(sysInfo.updateVersion).toBe(Number(version.slice(-2)));
    expect(sysInfo.cpuidConfig).toEqual(leaves(rd.cpuid_config));
    expect(sysInfo.cpuidConfigInfo).toEqual(leaves(table.tdh_sys_info.cpuid_config));
    expect(sysInfo.fields.get(0x9900_0001_0000_0004n)).toBe(BigInt(rd['num_cpuid_config'] as number));
  });

  it.each(tables)('%s, %s: limits and sampled CPUID', (version, _, table) => {
    const module = boot(version, loadPlatform(table.profile));
    const { limits } = table;
    expect(module.maxPa).toBe(limits['max_pa']);
    expect(module.tscHz).toBe(BigInt(limits['native_tsc_frequency'] as number));
    expect(module.nativeFms).toBe(Number(limits['platform_fms']));
    expect(module.keyIds).toMatchObject({
      privateMin: limits['private_hkid_min'],
      privateMax: limits['private_hkid_max'],
    });
    for (const { leaf, subleaf, valid_entry, sampled } of table.cpuid_lookup) {
      if (!valid_entry) continue;
      const at = module.rules.find(Number(leaf), subleaf === null ? null : Number(subleaf));
      const found = module.host.sampled.subarray(at! * 4, at! * 4 + 4);
      const wanted = ['eax', 'ebx', 'ecx', 'edx'].map((r) => Number(sampled[r]));
      expect([leaf, subleaf, ...found]).toEqual([leaf, subleaf, ...wanted]);
    }
  });
});

describe('every bundled module starts on every bundled platform', () => {
  it.each(bundledVersions())('%s', (version) => {
    for (const name of bundledPlatforms()) expect(boot(version, loadPlatform(name)).version).toBe(version);
  });

  it('with the KeyIDs that the MSRs give, in the top bits of an address', () => {
    expect(boot('1.5.06', loadPlatform('spr')).keyIds).toEqual({
      bits: 6,
      startBit: 46,
      mask: 0xf_c000_0000_0000n,
      privateMin: 32,
      privateMax: 63,
      global: 32,
    });
  });
});

describe('a module refuses a platform that it does not support', () => {
  const v6 = '1.5.06';
  it.each([
    [
      'leaf 7 without LA57 but 57 bits in 0x80000008',
      { cpuid: [7, 0, { ecx: '0xfb407ffe' }] },
      'module.sys-init.cpuid-address-width',
      0xffff_ffff_8000_0008n,
    ],
    [
      'leaf 7 without a bit the guest relies on',
      { cpuid: [7, 0, { ebx: '0xd3bfbfff' }] },
      'module.sys-init.cpuid-verify',
      7n,
    ],
    [
      'performance monitoring version 4',
      { cpuid: [0xa, null, { eax: '0x8300804' }] },
      'module.sys-init.cpuid-perfmon',
      0xffff_ffff_0000_000an,
    ],
  ] as [string, Change, string, bigint][])('%s: INCORRECT_CPUID_VALUE names the leaf', (_, change, rule, rcx) => {
    expect(refusal(v6, change)).toEqual({ call: 'TDH.SYS.INIT', status: 'TDX_INCORRECT_CPUID_VALUE', rule, rcx });
  });

  it.each([
    ['without MDS_NO', { '0x10a': '0x12afdcb' }, 0x10a],
    ['with the legacy xAPIC', { '0xbd': '0x0' }, 0xbd],
    ['without energy filtering', { '0xbc': '0x0' }, 0xbc],
    ['without full-width counters', { '0x345': '0x1fc5' }, 0x345],
    ['without branch trace storage', { '0x1a0': '0x850889' }, 0x1a0],
    ['whose EPT is not write-back', { '0x48c': '0x60f01063301c1' }, 0x48c],
    ['with TME unlocked', { '0x982': '0x3005680000002' }, 0x982],
    ['with different cache sub-blocks', { '0x99': '0x5' }, 0x99],
  ])('%s: INCORRECT_MSR_VALUE names the MSR', (_, msr, index) => {
    expect(refusal(v6, { msr })).toMatchObject({ call: 'TDH.SYS.INIT', status: 'TDX_INCORRECT_MSR_VALUE', msr: index });
  });

  it('with fewer than 52 address bits before 1.5.06 only', () => {
    const narrow: Change = { cpuid: [0x8000_0008, null, { eax: '0x392e' }] };
    const refused = { call: 'TDH.SYS.INIT', status: 'TDX_INCORRECT_CPUID_VALUE', rcx: 0xffff_ffff_8000_0008n };
    expect(refusal('1.5.01', narrow)).toMatchObject(refused);
    expect(refusal('1.5.05', narrow)).toMatchObject(refused);
    const { keyIds, maxPa } = boot(v6, changed(narrow));
    expect([maxPa, keyIds.startBit]).toEqual([46, 40]);
  });

  it('with a VMCS of 3 KiB before 1.5.05 only', () => {
    const large: Change = { msr: { '0x480': '0xda0c0000000013' } };
    expect(refusal('1.5.01', large)).toMatchObject({ status: 'TDX_INCORRECT_MSR_VALUE', msr: 0x480 });
    expect(boot('1.5.05', changed(large)).version).toBe('1.5.05');
  });

  it.each([
    ['a private KeyID 2^32 - 1 more than 31 is 30', { '0x87': '0xffffffff0000001f' }, 'R8'],
    ['KeyID 2^32 - 1 of MKTME leaves none that is shared', { '0x87': '0x1ffffffff' }, 'RCX'],
  ])('KeyIDs are counted in 32 bits: %s', (_, msr, operand) => {
    for (const version of bundledVersions()) {
      const result = bootModule(loadRules(version), changed({ msr }));
      if (result.ok) throw new Error('the module starts');
      const { name, operand: found } = decodeTdxStatus(result.status);
      expect([result.call, name, found]).toEqual(['TDH.SYS.CONFIG', 'TDX_OPERAND_INVALID', operand]);
    }
  });

  it('with PAMTs that reach the end of the address space: the PAMT of 4 KiB pages, which wraps, is the wrong one', () => {
    const invalid4K = { call: 'TDH.SYS.CONFIG', status: 0xc000_0a10_0000_0000n };
    for (const version of bundledVersions()) {
      const platform = changed({ sys: { pamt_base: '0xfffffffffffff000' } });
      expect(bootModule(loadRules(version), platform)).toMatchObject(invalid4K);
    }
  });

  it('not for a MAXPA below the number of KeyID bits, where shifts wrap', () => {
    const module = boot(v6, changed({ cpuid: [0x8000_0008, null, { eax: '0x3900' }] }));
    expect(module.keyIds).toMatchObject({ bits: 6, startBit: 58, mask: 0xfc00_0000_0000_0000n });
  });

  it('with more than 52 address bits: the module stops, without a status of its own', () => {
    expect(refusal(v6, { cpuid: [0x8000_0008, null, { eax: '0x3935' }] })).toEqual({
      call: 'TDH.SYS.INIT',
      status: 'stopped',
      rule: 'module.sys-init.maxpa',
    });
  });

  it.each([
    ['CPUID leaves limited', { msr: { '0x1a0': '0xc50089' } }, 'TDX_LIMIT_CPUID_MAXVAL_SET'],
    ['the last leaf below 0x1F', { cpuid: [0, null, { eax: '0x1e' }] }, 'TDX_CPUID_LEAF_NOT_SUPPORTED'],
    ['no TSC frequency', { cpuid: [0x15, null, { ebx: '0x0' }] }, 'TDX_CPUID_LEAF_NOT_SUPPORTED'],
    ['descending topology levels', { cpuid: [0x1f, 1, { ecx: '0x101' }] }, 'TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED'],
    ['no CORE level', { cpuid: [0x1f, 1, { ecx: '0x301' }] }, 'TDX_CPUID_LEAF_NOT_SUPPORTED'],
    ['an L3 cache for half a package', { cpuid: [4, 3, { eax: '0x7c0fc163' }] }, 'TDX_INVALID_WBINVD_SCOPE'],
    ['KeyID 2048', { msr: { '0x87': '0x7e100000001f' } }, 'TDX_NUM_ACTIVATED_HKIDS_NOT_SUPPORTED'],
    ['SMRR not locked', { msr: { '0x1f3': '0xff000800' } }, 'TDX_SMRR_NOT_LOCKED'],
    ['SMRR with holes', { msr: { '0x1f3': '0xfd000c00' } }, 'TDX_INVALID_SMRR_CONFIGURATION'],
    [
      'SMRR in convertible memory',
      {
        sys: {
          cmr: [
            ['0x77000000', '0x1000'],
            ['0x100000000', '0x800000000'],
          ],
        },
      },
      'TDX_SMRR_OVERLAPS_CMR',
    ],
    [
      'convertible memory out of order',
      {
        sys: {
          cmr: [
            ['0x100000000', '0x800000000'],
            ['0x1000', '0x1000'],
          ],
        },
      },
      'TDX_CMR_LIST_INVALID',
    ],
    ['no TD preserving', { sys: { seamops_caps: '0x4f' } }, 'TDX_INCOMPATIBLE_SEAM_CAPABILITIES'],
  ] as [string, Change, string][])('%s: %o', (_, change, status) => {
    expect(refusal(v6, change)).toMatchObject({ call: 'TDH.SYS.INIT', status });
  });

  it.each([
    ['a KeyID that is not private', { sys: { global_hkid: 31 } }, 'TDX_OPERAND_INVALID'],
    ['a TDMR of half a GiB', { sys: { tdmr_size: '0x20000000' } }, 'TDX_INVALID_TDMR'],
    ['a PAMT inside the TDMR', { sys: { pamt_base: '0x110000000' } }, 'TDX_PAMT_OVERLAP'],
    ['a PAMT outside convertible memory', { sys: { pamt_base: '0x80000000' } }, 'TDX_PAMT_OUTSIDE_CMRS'],
    ['a TDMR outside convertible memory', { sys: { tdmr_base: '0x40000000' } }, 'TDX_TDMR_OUTSIDE_CMRS'],
  ] as [string, Change, string][])('%s: TDH.SYS.CONFIG fails', (_, change, status) => {
    expect(refusal(v6, change)).toMatchObject({ call: 'TDH.SYS.CONFIG', status });
  });

  it('where the firmware and CPUID disagree on reserved bits of the processor signature: TDH.SYS.LP.INIT fails', () => {
    expect(refusal(v6, { sys: { socket_fms: ['0x100806f8'] } })).toMatchObject({
      call: 'TDH.SYS.LP.INIT',
      status: 'TDX_INCONSISTENT_CPUID_FIELD',
      rcx: 0xffff_ffff_0000_0001n,
    });
  });
});

describe('CPUID is sampled as the module samples it', () => {
  it('with the lowest stepping of all packages', () => {
    const two = changed({ sys: { num_pkgs: 2, socket_fms: ['0x806f8', '0x806f6'] } });
    expect(boot('1.5.06', two).nativeFms).toBe(0x806f6);
  });

  it('with HLE and RTM although IA32_TSX_CTRL hides them, where the module may clear that', () => {
    const hidden = boot('1.5.06', changed({ msr: { '0x122': '0x2' } }));
    const shown = boot('1.5.06', loadPlatform('spr'));
    expect(hidden.sysInfo.cpuidConfig).toEqual(shown.sysInfo.cpuidConfig);
  });
});
