import type { Host } from '../../cpuid/index.js';
import type { Platform } from '../platform.js';
import type { BootRefusal } from './boot-status.js';
import { keyIdMask } from './key-id-mask.js';

const KIB4 = 0x1000n;
const GIB = 1n << 30n;
const PA_LIMIT = 1n << 52n;
const U64_LIMIT = 1n << 64n;
const MAX_CMR = 32;

interface Range {
  base: bigint;
  size: bigint;
}
const end = (r: Range): bigint => r.base + r.size;
const overlap = (a: Range, b: Range): boolean => a.base < end(b) && b.base < end(a);
const inside = (inner: Range, outer: Range): boolean => inner.base >= outer.base && end(inner) <= end(outer);

/** Convertible memory ranges; those of size 0 are unused. */
export const cmrsOf = (platform: Platform): Range[] =>
  platform.sys.cmr.slice(0, MAX_CMR).map(([base, size]) => ({ base: BigInt(base), size: BigInt(size) }));

function keyIdMaskOf(host: Host): bigint {
  const slot = (name: string): number => {
    const at = host.rules.host.findIndex((v) => v.name === name);
    return at < 0 ? 0 : host.low[at]!;
  };
  return keyIdMask(slot('HKID_START_BIT'), slot('HKID_BITS'));
}

/** tdh_sys_init.c check_cmrs: ascending, disjoint, 4 KiB aligned, below 2^52 and without KeyID bits. */
export function checkCmrs(host: Host, platform: Platform): BootRefusal | undefined {
  const mask = keyIdMaskOf(host);
  let previous: Range | undefined;
  for (const cmr of cmrsOf(platform)) {
    if (cmr.size === 0n) continue;
    const last = end(cmr) - 1n;
    const valid =
      end(cmr) < U64_LIMIT &&
      (cmr.base & mask) === 0n &&
      (last & mask) === 0n &&
      last <= PA_LIMIT &&
      cmr.base % KIB4 === 0n &&
      cmr.size % KIB4 === 0n &&
      (previous === undefined || (previous.base <= cmr.base && end(previous) - 1n <= cmr.base));
    if (!valid) return { rule: 'module.sys-init.cmrs' };
    previous = cmr;
  }
  return undefined;
}

const MTRRCAP = 0xfe;
const SMRR_BASES = [0x1f2, 0x1f6];
const ADDRESS = 0xffff_f000n;
const SMRR2_VALID = 1n << 13n;

/** tdh_sys_init.c check_and_store_smrr_smrr2: SMRR (and SMRR2) locked, well formed, and apart from convertible memory. */
export function checkSmrrs(host: Host, platform: Platform): BootRefusal | undefined {
  const cap = host.msr(MTRRCAP);
  if (((cap >> 11n) & 1n) === 0n) return { rule: 'module.sys-init.smrr-supported' };
  if (((cap >> 14n) & 1n) === 0n) return { rule: 'module.sys-init.smrr-lock-supported' };
  const two = host.sys('smrr2_not_supported') === 0 && (cap & SMRR2_VALID) !== 0n;
  const smrrs = SMRR_BASES.slice(0, two ? 2 : 1).map((msr) => ({ base: host.msr(msr), mask: host.msr(msr + 1) }));
  for (const [i, { mask }] of smrrs.entries()) {
    if (((mask >> 10n) & 1n) === 0n) return { rule: 'module.sys-init.smrr-locked', details: i };
  }
  for (const [i, smrr] of smrrs.entries()) {
    if (((smrr.mask >> 11n) & 1n) === 0n) continue;
    const mask = smrr.mask & ADDRESS;
    const base = smrr.base & ADDRESS;
    const size = mask & -mask;
    const contiguous = mask !== 0n && mask === 0x1_0000_0000n - size;
    if (!contiguous || (base & ~mask) !== 0n) return { rule: 'module.sys-init.smrr-valid', details: i };
    const hit = cmrsOf(platform).findIndex((cmr) => cmr.size !== 0n && overlap({ base, size }, cmr));
    if (hit >= 0) return { rule: 'module.sys-init.smrr-cmr', details: i | (hit << 8) };
  }
  return undefined;
}

const PAMT_ENTRY = 16n;
/** Page sizes in the order in which Linux lays out their PAMTs, with the number that statuses use. */
const PAGE_SIZES = [
  { level: 0, size: KIB4 },
  { level: 1, size: 1n << 21n },
  { level: 2, size: GIB },
] as const;

/** The PAMTs of the one TDMR, one after the other from `pamt_base` as Linux lays them out. */
export function pamtsOf(platform: Platform): (Range & { level: number })[] {
  let base = BigInt(platform.sys.pamt_base);
  return PAGE_SIZES.map(({ level, size: pageSize }) => {
    const bytes = (BigInt(platform.sys.tdmr_size) / pageSize) * PAMT_ENTRY;
    const size = ((bytes + KIB4 - 1n) / KIB4) * KIB4;
    const pamt = { level, base, size };
    base = BigInt.asUintN(64, base + size);
    return pamt;
  });
}

/** tdh_sys_config.c with the platform's single TDMR, which has no reserved areas. */
export function configureTdmrs(host: Host, platform: Platform): BootRefusal | undefined {
  const { sys } = platform;
  const values = new Map(host.rules.host.map(({ name }, slot) => [name, host.low[slot]!]));
  const min = values.get('PRIVATE_HKID_MIN') ?? 0;
  const max = values.get('PRIVATE_HKID_MAX') ?? 0;
  if (sys.global_hkid < min || sys.global_hkid > max) return { rule: 'module.sys-config.hkid' };

  const mask = keyIdMaskOf(host);
  const tdmr = { base: BigInt(sys.tdmr_base), size: BigInt(sys.tdmr_size) };
  const addressable = (r: Range): boolean =>
    end(r) <= PA_LIMIT && (r.base & mask) === 0n && ((end(r) - 1n) & mask) === 0n;
  if (tdmr.base % GIB !== 0n || tdmr.size % GIB !== 0n || tdmr.size === 0n || !addressable(tdmr)) {
    return { rule: 'module.sys-config.tdmr' };
  }
  const pamts = pamtsOf(platform);
  for (const pamt of pamts.toReversed()) {
    if (pamt.base % KIB4 !== 0n || !addressable(pamt))
      return { rule: 'module.sys-config.pamt', details: pamt.level << 8 };
  }
  for (const pamt of pamts) {
    if (overlap(pamt, tdmr)) return { rule: 'module.sys-config.pamt-overlap', details: pamt.level << 8 };
  }
  const convertible = joined(cmrsOf(platform));
  for (const pamt of pamts.toReversed()) {
    if (!convertible.some((cmr) => inside(pamt, cmr))) {
      return { rule: 'module.sys-config.pamt-cmr', details: pamt.level << 8 };
    }
  }
  return convertible.some((cmr) => inside(tdmr, cmr)) ? undefined : { rule: 'module.sys-config.tdmr-cmr' };
}

/** Convertible memory with adjacent ranges joined. */
function joined(cmrs: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const cmr of cmrs.filter((r) => r.size !== 0n)) {
    const last = result.at(-1);
    if (last && end(last) === cmr.base) last.size += cmr.size;
    else result.push({ ...cmr });
  }
  return result;
}
