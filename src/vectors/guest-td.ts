import { type SeamcallArgs, type SeamcallResult, TDH } from '../mock/module/seamcall.js';
import type { OnEnter } from '../mock/module/tdh-vp-enter.js';
import type { VectorModule } from './vector-module.js';

/** A CPUID value of a TD as its host reads it. */
export interface HostCpuidRow {
  leaf: number;
  /** null: read without a sub-leaf. */
  subleaf: number | null;
  values: readonly number[];
}

export interface GuestTd {
  /** What TDH.MNG.INIT gave. */
  mngInit: SeamcallResult;
  read(field: bigint): SeamcallResult;
  /** Makes the VCPU and finalises the TD; undefined where TDH.MNG.INIT refused. */
  vp?: () => { init: SeamcallResult; finalize: SeamcallResult; enter(guest: OnEnter): SeamcallResult };
}

const TD_PARAMS = 0x100_2000n;
/** Pages of TDs start here in the TDMR. */
const PAGES_OFFSET = 0x10_0000n;
const PAGE = 4096n;
const TDVPS_PAGES = 6;
const TDVPS_PAGES_PER_L2 = 3;
const INITIAL_RCX = 0xc0_ffeen;

export interface GuestTdOptions {
  params: Uint8Array;
  tdcxPages: number;
  l2Vms: number;
  /** Given to version 1 of TDH.VP.INIT; undefined: version 0. */
  x2apicId: number | undefined;
}

/** A private KeyID that is not the module's own. */
const freeKeyId = ({ privateMin, global }: VectorModule['boot']['keyIds']): bigint =>
  BigInt(privateMin === global ? privateMin + 1 : privateMin);

/** A TD with one VCPU, with the SEAMCALLs in the order of test/vectors/README.md. */
export function buildGuestTd(module: VectorModule, { params, tdcxPages, l2Vms, x2apicId }: GuestTdOptions): GuestTd {
  const { keyIds, platform } = module.boot;
  let next = BigInt(platform.sys.tdmr_base) + PAGES_OFFSET;
  const page = (): bigint => {
    next += PAGE;
    return next;
  };
  const must = (leaf: number, args: SeamcallArgs): void => {
    const { status, rule } = module.call(leaf, args);
    if (status !== 0n) throw new Error(`leaf ${leaf} gave 0x${status.toString(16)}${rule ? `; rule ${rule}` : ''}`);
  };
  module.write(TD_PARAMS, params);
  const tdr = page();
  must(TDH.MNG_CREATE, { rcx: tdr, rdx: freeKeyId(keyIds) });
  must(TDH.MNG_KEY_CONFIG, { rcx: tdr });
  for (let i = 0; i < tdcxPages; i++) must(TDH.MNG_ADDCX, { rcx: page(), rdx: tdr });
  const mngInit = module.call(TDH.MNG_INIT, { rcx: tdr, rdx: TD_PARAMS });
  const read = (field: bigint): SeamcallResult => module.call(TDH.MNG_RD, { rcx: tdr, rdx: field });
  if (mngInit.status !== 0n) return { mngInit, read };

  const vp = () => {
    const tdvpr = page();
    must(TDH.VP_CREATE, { rcx: tdvpr, rdx: tdr });
    for (let i = 1; i < TDVPS_PAGES + TDVPS_PAGES_PER_L2 * l2Vms; i++) must(TDH.VP_ADDCX, { rcx: page(), rdx: tdvpr });
    const id = x2apicId === undefined ? {} : { version: 1, r8: BigInt(x2apicId) };
    const init = module.call(TDH.VP_INIT, { rcx: tdvpr, rdx: INITIAL_RCX, ...id });
    const finalize = module.call(TDH.MR_FINALIZE, { rcx: tdr });
    return { init, finalize, enter: (guest: OnEnter) => module.enter(tdvpr, guest) };
  };
  return { mngInit, read, vp };
}

const CPUID_VALUES = 0x9410_0003_0000_0000n;
const SUBLEAF_NA = 0x1fen;
const FIELD_GPAW = 0x9110_0000_0000_0003n;
const MAX_SUBLEAF = 0x7f;

/** CPUID of the TD with TDH.MNG.RD, as KVM_TDX_GET_CPUID walks it: without sub-leaf first, then sub-leaves until one fails. */
export function hostCpuid(td: GuestTd): HostCpuidRow[] {
  const rows: HostCpuidRow[] = [];
  const halves = (value: bigint): number[] => [Number(value & 0xffff_ffffn), Number(value >> 32n)];
  const read = (leaf: number, subleaf: number | null): boolean => {
    if (subleaf !== null && subleaf > MAX_SUBLEAF) return false;
    const field =
      CPUID_VALUES |
      (leaf >= 0x8000_0000 ? 1n << 16n : 0n) |
      (BigInt(leaf & 0x7f) << 9n) |
      (subleaf === null ? SUBLEAF_NA : BigInt(subleaf) << 1n);
    const [low, high] = [td.read(field), td.read(field + 1n)];
    if (low.status !== 0n || high.status !== 0n) return false;
    rows.push({ leaf, subleaf, values: [...halves(low.r8), ...halves(high.r8)] });
    return true;
  };
  for (const first of [0, 0x8000_0000]) {
    if (!read(first, null)) return rows;
    const last = rows.at(-1)!.values[0]!;
    for (let leaf = first + 1; leaf <= last; leaf++) {
      if (!read(leaf, null)) for (let subleaf = 0; read(leaf, subleaf); subleaf++);
    }
  }
  const gpaBits = td.read(FIELD_GPAW).r8 === 1n ? 52 : 48;
  return rows.map((row) => (row.leaf === 0x8000_0008 ? { ...row, values: withGuestPaBits(row.values, gpaBits) } : row));
}

/** EAX[23:16], where Linux shows the GPAW. */
const withGuestPaBits = ([eax = 0, ...rest]: readonly number[], bits: number): number[] => [
  ((eax & ~0xff_0000) | (bits << 16)) >>> 0,
  ...rest,
];
