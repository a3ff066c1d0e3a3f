import { readFileSync } from 'node:fs';
import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import type { TdHostFacts } from '../../src/td/host-facts.js';
import { readCases } from '../vectors/read.js';

type Profile = 'spr' | 'gnr' | 'spr_nola57' | 'spr_lass';

/** `7:1:0:00001c30,00000000,00000000,00000000`, the spelling of test/vectors/ioctl. */
export function parseRow(row: string): CpuidEntry {
  const [leaf, index, flags, values] = row.split(':') as [string, string, string, string];
  const [eax, ebx, ecx, edx] = values.split(',').map((text) => Number.parseInt(text, 16)) as [
    number,
    number,
    number,
    number,
  ];
  const number = (text: string) => Number.parseInt(text, 16);
  return { function: number(leaf), index: number(index), flags: number(flags), eax, ebx, ecx, edx };
}

const capabilitiesOf = new Map<string, TdHostFacts['capabilities']>();
for (const { profile, expect } of readCases('ioctl/caps.jsonl.gz')) {
  if (!expect.caps || capabilitiesOf.has(profile)) continue;
  capabilitiesOf.set(profile, {
    supportedAttrs: BigInt(expect.caps.supported_attrs),
    supportedXfam: BigInt(expect.caps.supported_xfam),
    kernelTdvmcallinfo1R11: 0n,
    userTdvmcallinfo1R11: 2n,
    kernelTdvmcallinfo1R12: 0n,
    userTdvmcallinfo1R12: 0n,
    cpuid: expect.caps.entries.map(parseRow),
  });
}

const EPT_5_LEVELS = 1n << 7n;

/** A host of the ioctl vectors: Linux 6.16 over module 1.5.05, 8 processors, TSC 2 GHz. */
export function vectorHost(profile: Profile): TdHostFacts {
  const file = new URL(`../../profiles/platforms/${profile}.json`, import.meta.url);
  const platform = JSON.parse(readFileSync(file, 'utf8'));
  const rows = platform.cpuid as Record<string, string | number | null>[];
  return {
    capabilities: capabilitiesOf.get(profile)!,
    supportedCpuid: rows.map((row) => ({
      function: Number(row['leaf']),
      index: Number(row['subleaf'] ?? 0),
      flags: row['subleaf'] === null ? 0 : 1,
      eax: Number(row['eax']),
      ebx: Number(row['ebx']),
      ecx: Number(row['ecx']),
      edx: Number(row['edx']),
    })),
    maxVcpus: 8,
    systemMaxVcpus: 1024,
    maxVcpusSettable: false,
    tscKhz: 2_000_000,
    fiveLevelEpt: (BigInt(platform.msr['0x48c']) & EPT_5_LEVELS) !== 0n,
  };
}

/** Sapphire Rapids, module 1.5.05, Linux 6.16. */
export const spr = vectorHost('spr');

/** The same with module 1.5.06: MAXPA is configurable. */
export const spr1506: TdHostFacts = {
  ...spr,
  capabilities: {
    ...spr.capabilities,
    cpuid: spr.capabilities.cpuid.map((row) =>
      row.function === 0x8000_0008 ? { ...row, eax: (row.eax | 0xff) >>> 0 } : row,
    ),
  },
};
