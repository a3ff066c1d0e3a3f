import { describe, expect, it } from 'vitest';
import { bundledVersions, loadRules } from '../../src/cpuid/index.js';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { bootModule, type ModuleBoot } from '../../src/mock/module/boot.js';
import { initTd } from '../../src/mock/module/mng-init.js';
import type { Platform } from '../../src/mock/platform.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { cpuidRows } from '../../src/vectors/tdparams.js';

// Nothing here was computed by Intel's source, as vectors are: masks, flags and rows were read in it by hand.
const VERSION = '1.5.25';
const rules = loadRules(VERSION);

const hex = (n: number): string => n.toString(16);
const key = (leaf: number, subleaf: number | null): string =>
  subleaf === null ? hex(leaf) : `${hex(leaf)}.${subleaf}`;

function boot(platform: Platform = loadPlatform('spr')): ModuleBoot {
  const result = bootModule(rules, platform);
  if (!result.ok) throw new Error(result.rule);
  return result.module;
}

/** `spr` with other values of one CPUID row. */
function changed(leaf: number, subleaf: number | null, values: Record<string, string>): Platform {
  const platform = structuredClone(loadPlatform('spr'));
  const rest = platform.cpuid.filter(
    (r) => Number(r.leaf) !== leaf || (subleaf !== null && Number(r.subleaf) !== subleaf),
  );
  const row = {
    leaf: `0x${hex(leaf)}`,
    subleaf: subleaf === null ? null : `0x${hex(subleaf)}`,
    eax: '0x0',
    ebx: '0x0',
    ecx: '0x0',
    edx: '0x0',
  };
  platform.cpuid = [...rest, { ...row, ...values }];
  return platform;
}

const CPUID_CONFIG = 256;
const slot = (leaf: number, subleaf: number | null): number => rules.entries[rules.find(leaf, subleaf)!]!.config;

interface Wish {
  attributes?: bigint;
  xfam?: bigint;
  flags?: bigint;
  eptp?: bigint;
  l2Vms?: number;
  cpuid?: [leaf: number, subleaf: number | null, register: 0 | 1 | 2 | 3, value: number][];
}

function init(wish: Wish, module = boot()) {
  const view = new DataView(new ArrayBuffer(1024));
  view.setBigUint64(0, wish.attributes ?? 0n, true);
  view.setBigUint64(8, wish.xfam ?? 3n, true);
  view.setUint16(16, 1, true);
  view.setUint8(18, wish.l2Vms ?? 0);
  view.setBigUint64(24, wish.eptp ?? 0x1en, true);
  view.setBigUint64(32, wish.flags ?? 0n, true);
  view.setUint16(40, 40, true);
  for (const [leaf, subleaf, register, value] of wish.cpuid ?? []) {
    view.setUint32(CPUID_CONFIG + slot(leaf, subleaf) * 16 + register * 4, value, true);
  }
  return initTd(module, new Uint8Array(view.buffer), 9);
}

function rows(wish: Wish, module = boot()): Record<string, string> {
  const { td, rule } = init(wish, module);
  if (!td) throw new Error(rule);
  const split = cpuidRows(td).map((row) => row.split(':'));
  return Object.fromEntries(
    split.map(([leaf, sub, valid, values]) => [sub === '-' ? leaf : `${leaf}.${sub}`, `${valid}:${values}`]),
  );
}

const refusedBy = (wish: Wish, module?: ModuleBoot) => {
  const { status, rule, rcx } = init(wish, module);
  return [decodeTdxStatus(status).operand, rule, rcx];
};

describe('the newest rules document', () => {
  it('is the last of the bundled ones, and read where the others were computed', () => {
    expect(bundledVersions().at(-1)).toBe(VERSION);
    const known = bundledVersions().map((version) => loadRules(version).document.known);
    expect(known).toEqual(['computed', 'computed', 'computed', 'read']);
  });

  it('has 79 entries, of which a host configures 28', () => {
    expect(rules.entries).toHaveLength(79);
    expect(rules.document.cpuid.map(({ index }) => index).sort((a, b) => a - b)).toEqual([...Array(79).keys()]);
    const configurable = rules.entries.filter(({ config }) => config >= 0).sort((a, b) => a.config - b.config);
    expect(configurable.map(({ leaf, subleaf }) => key(leaf, subleaf))).toEqual([
      ...['1', '4.0', '4.1', '4.2', '4.3', '7.0', '7.1', 'a', '1c', '80000008', '7.2', '23.0'],
      ...['1f.0', '1f.1', '1f.2', '1f.3', '1f.4', '1f.5', '19'],
      ...['18.0', '18.1', '18.2', '18.3', '18.4', '18.5', '18.6', '18.7', '18.8'],
    ]);
    expect(rules.entries.filter(({ faulting }) => faulting)).toEqual([]);
  });

  it.each([
    ['1', 'allowed', [0, 0, 0x31044d88, 0xb8445080]],
    ['4.0', 'configured', [0xffffc3ff, 0xfffff000, 0xffffffff, 7]],
    ['4.3', 'configured', [0xffffc3ff, 0xfffff000, 0xffffffff, 7]],
    ['7.0', 'allowed', [0, 0xdc2b9b18, 0x2417f65, 0x4005411c]],
    ['7.1', 'allowed', [0x4881db0, 0, 0, 0x24430]],
    ['18.8', 'configured', [0, 0, 0, 0x3ffc000]],
    ['19', 'allowed', [0, 0, 0, 0]],
    ['80000008', 'configured', [0xff, 0, 0, 0]],
  ] as const)('lets a host set in %s as %s what Intel publishes', (name, kind, masks) => {
    const entry = rules.entries.find(({ leaf, subleaf }) => key(leaf, subleaf) === name)!;
    expect([...entry[kind]].map(hex)).toEqual(masks.map(hex));
  });

  it('knows the leaves that are always zero from CPUID_FIXED0_BITMAP 0x0380000508cfd308', () => {
    const bitmap = 0x0380_0005_08cf_d308n;
    const bits = [...Array(60).keys()].filter((bit) => (bitmap >> BigInt(bit)) & 1n);
    const leaves = bits.map((bit) => (bit < 52 ? bit : 0x8000_0000 + bit - 52));
    const fixed = rules.unlisted.filter((u) => u.fixed).flatMap((u) => [...u.leaves!]);
    expect(fixed.sort((a, b) => a - b)).toEqual(leaves);
  });

  it('reports features and limits', () => {
    const { sysInfo } = boot();
    const features = (bits: number[]) => bits.reduce((all, bit) => all | (1n << BigInt(bit)), 0n);
    const present = [0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20];
    const since = {
      partitionedMigration: 21,
      eventFiltering: 24,
      icssd: 25,
      fixedCtr12: 26,
      maxpaVirt: 27,
      cpuid2Virt: 29,
    };
    const later = { veReduction: 30, maxgpaVirt: 33, dynamicPamt: 36, fatalDiagnostics: 37, enhancedIntrState: 40 };
    const last = { importPageStatus: 44, veInfoIntrState: 46, updateCompatibility: 47 };
    const all = [...present, ...Object.values({ ...since, ...later, ...last })];
    expect(sysInfo.tdxFeatures0).toBe(features(all));
    expect(sysInfo).toMatchObject({
      updateVersion: 25,
      configFlagsFixed0: 0x1fn,
      attributesFixed0: 0x8000_0000_7001_0001n,
      maxVcpusPerTd: 576,
      minVirtMaxpa: 45,
    });
    expect(sysInfo.cpuidConfig).toHaveLength(28);
  });
});

describe('a processor on which the module does not start', () => {
  const refusal = (platform: Platform) => {
    const result = bootModule(rules, platform);
    return result.ok ? 'started' : [result.rule, decodeTdxStatus(result.status).name, result.rcx];
  };

  it('has unused sub-leaves of CPUID(0x1F) without their number', () => {
    expect(refusal(changed(0x1f, 4, {}))).toEqual([
      'module.sys-init.topology-sub-leaf',
      'TDX_CPUID_LEAF_1F_FORMAT_UNRECOGNIZED',
      undefined,
    ]);
  });

  it('has values in sub-leaves of CPUID(0x23) that are not announced', () => {
    const gnr = structuredClone(loadPlatform('gnr'));
    expect(refusal(gnr)).toBe('started');
    gnr.cpuid.find((r) => r.leaf === '0x23' && r.subleaf === '0x0')!.eax = '0x7';
    expect(refusal(gnr)).toEqual([
      'module.sys-init.cpuid-perfmon-sub-leaf',
      'TDX_INCORRECT_CPUID_VALUE',
      0x3_0000_0023n,
    ]);
  });

  it('has CPUID(0x23) without saying so: what was sampled as zeros is not the same at TDH.SYS.LP.INIT', () => {
    const gnr = structuredClone(loadPlatform('gnr'));
    const seven = gnr.cpuid.find((r) => r.leaf === '0x7' && r.subleaf === '0x1')!;
    seven.eax = `0x${hex((Number(seven.eax) & ~0x100) >>> 0)}`;
    expect(refusal(gnr)).toEqual(['module.sys-lp-init.cpuid-same', 'TDX_INCONSISTENT_CPUID_FIELD', 0x23n]);
  });
});

describe('TDH.MNG.INIT', () => {
  it('makes these values of a TD that asks for nothing', () => {
    expect(rows({})).toMatchObject({
      0: '1:00000023,756e6547,6c65746e,49656e69',
      // MCE, MTRR and MCA are stored as configured; without REDUCE_VE the guest sees them all the same.
      1: '1:000806f8,00000800,c6faa217,07a9ab7f',
      2: '1:00feff01,00000000,00000000,00000000',
      6: '1:00000004,00000000,00000000,00000000',
      19: '1:00000000,00000000,00000000,00000000',
      80000002: '1:65746e49,58204454,6c202020,00000000',
      80000008: '1:00003034,00000000,00000000,00000000',
      '18.0': '1:00000000,00000000,00000000,00000000',
      // The topology of the host; 0xB.2 has its number although it is unused.
      'b.0': '1:00000001,00000002,00000100,00000000',
      'b.1': '1:00000007,00000070,00000201,00000000',
      'b.2': '1:00000000,00000000,00000002,00000000',
    });
  });

  it('gives what is configured', () => {
    const asked = rows({
      cpuid: [
        [1, null, 3, 0x5080],
        [0x18, 3, 3, 0x3ffc000],
        [7, 0, 3, 0x4000_0000],
        [4, 0, 0, 0x7c004121],
        [4, 0, 3, 7],
      ],
    });
    expect(asked).toMatchObject({
      1: '1:000806f8,00000800,c6faa217,07a9fbff',
      '18.3': '1:00000000,00000000,00000000,03ffc000',
      '4.0': '1:7c004121,0000003f,00000000,00000007',
    });
    expect(Number.parseInt(asked['7.0']!.split(',')[3]!, 16) & 0x4000_0000).toBe(0x4000_0000);
    expect(Number.parseInt(rows({})['7.0']!.split(',')[3]!, 16) & 0x4000_0000).toBe(0);
  });

  it('names the leaf of a bit that it does not let a host configure', () => {
    expect(refusedBy({ cpuid: [[0x19, null, 0, 1]] })).toEqual([
      'CPUID_CONFIG',
      'module.mng-init.cpuid-config',
      0xffff_ffff_0000_0019n,
    ]);
    expect(refusedBy({ cpuid: [[0x18, 8, 3, 0x4000_0000]] })[2]).toBe(0x8_0000_0018n);
    expect(refusedBy({ cpuid: [[4, 0, 3, 8]] })[2]).toBe(4n);
  });

  it('makes MAXPA the native one and says the guest physical width with MAXGPA_VIRT', () => {
    const MAXPA_VIRT = 8n;
    const MAXGPA_VIRT = 16n;
    const GPAW = 1n;
    const fiveLevels = 0x26n;
    expect(rows({ flags: MAXGPA_VIRT })['80000008']).toBe('1:00303034,00000000,00000000,00000000');
    expect(rows({ flags: MAXGPA_VIRT | GPAW, eptp: fiveLevels })['80000008']).toBe(
      '1:00343034,00000000,00000000,00000000',
    );
    expect(init({ flags: MAXGPA_VIRT }).td?.virtMaxpa).toBe(48);
    expect(rows({ flags: MAXPA_VIRT })['80000008']).toBe('1:00003030,00000000,00000000,00000000');
    expect(refusedBy({ flags: MAXPA_VIRT | MAXGPA_VIRT })).toEqual([
      'EXEC_CONTROLS',
      'module.mng-init.maxpa-maxgpa',
      0n,
    ]);
    expect(refusedBy({ flags: 32n })[1]).toBe('module.mng-init.config-flags');
  });

  it('does not look for the platform in its list where a migratable TD leaves family, model and stepping at 0', () => {
    const unknown = structuredClone(loadPlatform('spr'));
    unknown.sys.socket_fms = ['0x606a0'];
    const migratable = { attributes: 1n << 29n };
    expect(init(migratable, boot(unknown)).status).toBe(0n);
    expect(refusedBy({ ...migratable, cpuid: [[1, null, 0, 0x606a0]] }, boot(unknown))[1]).toBe(
      'module.mng-init.fms-platform',
    );
    const gnr = boot(loadPlatform('gnr'));
    expect(init({ ...migratable, cpuid: [[1, null, 0, 0xa06d1]] }, gnr).status).toBe(0n);
    expect(init({ ...migratable, cpuid: [[1, null, 0, 0x806f8]] }, gnr).status).toBe(0n);
    expect(refusedBy({ ...migratable, cpuid: [[1, null, 0, 0xa06d2]] }, gnr)[1]).toBe('module.mng-init.fms');
  });

  it('lets a migratable TD have L2 VMs', () => {
    expect(init({ attributes: 1n << 29n, l2Vms: 1 }).status).toBe(0n);
  });

  it('gives sub-leaves of CPUID(0x23) only as far as sub-leaf 0 announces them', () => {
    const gnr = boot(loadPlatform('gnr'));
    const PERFMON = 1n << 63n;
    const perfmon = (eax: number) =>
      rows(
        {
          attributes: PERFMON,
          cpuid: [
            [7, 1, 0, 0x100],
            [0x23, 0, 0, eax],
          ],
        },
        gnr,
      );
    expect(perfmon(0xf)['23.1']).toBe('1:000000ff,0000000f,00000000,00000000');
    expect(perfmon(0x1)['23.1']).toBe('1:00000000,00000000,00000000,00000000');
  });
});
