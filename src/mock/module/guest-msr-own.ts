import type { Guest } from './guest-context.js';
import { hasFeature, reducesVe } from './guest-features.js';
import { virtualVmxMsr } from './virtual-vmx.js';
import { wrmsrXss } from './wrmsr.js';

// MSRs that the module answers itself (td_msr_access.c td_rdmsr_exit, td_wrmsr_exit). A result that is no value is an exception.

const MSR = {
  SMI_COUNT: 0x34,
  FEATURE_CONTROL: 0x3a,
  PPIN_CTL: 0x4e,
  BIOS_UPDT_TRIG: 0x79,
  BIOS_SIGN_ID: 0x8b,
  XAPIC_DISABLE_STATUS: 0xbd,
  PLATFORM_INFO: 0xce,
  ARCH_CAPABILITIES: 0x10a,
  FEATURE_ENABLES: 0x140,
  MISC_ENABLE: 0x1a0,
  DEBUGCTL: 0x1d9,
  PERF_CAPABILITIES: 0x345,
  X2APIC_APICID: 0x802,
  XSS: 0xda0,
  EFER: 0xc000_0080,
} as const;

const LEGACY_XAPIC_DISABLED = 1n;
const TD_CTLS_ENUM_TOPOLOGY = 2n;
const MISC_ENABLE = {
  FAST_STRINGS: 1n << 0n,
  PERFMON: 1n << 7n,
  BTS_UNAVAILABLE: 1n << 11n,
  PEBS_UNAVAILABLE: 1n << 12n,
  EST: 1n << 16n,
  MONITOR: 1n << 18n,
  LIMIT_CPUID: 1n << 22n,
  XTPR_DISABLE: 1n << 23n,
} as const;
const PEBS_OUTPUT_PT_AVAIL = 1n << 16n;
const DEBUGCTL = {
  TR: 1n << 6n,
  BTS: 1n << 7n,
  ENABLE_UNCORE_PMI: 1n << 13n,
  FREEZE_WHILE_SMM: 1n << 14n,
  RTM: 1n << 15n,
  /** Bits 5:3 and 63:16. */
  RESERVED: ~0xffc7n & 0xffff_ffff_ffff_ffffn,
} as const;
const EFER_SCE = 1n;
const EFER_LMA = 1n << 10n;

const native = ({ module }: Guest, index: number): bigint =>
  BigInt(module.platform.msr[`0x${index.toString(16)}`] ?? 0);

const LOCKED = 1n;

/** With REDUCE_VE the module answers for MSRs that are a host's otherwise. */
const REDUCED: Readonly<Record<number, (guest: Guest) => bigint>> = {
  [MSR.SMI_COUNT]: ({ vcpu }) => vcpu.msrs.get(MSR.SMI_COUNT) ?? 0n,
  [MSR.FEATURE_CONTROL]: () => LOCKED,
  [MSR.PPIN_CTL]: () => LOCKED,
  [MSR.BIOS_SIGN_ID]: () => 0xffff_ffffn,
  [MSR.PLATFORM_INFO]: () => 0n,
  [MSR.FEATURE_ENABLES]: () => 0n,
};

function miscEnable(guest: Guest): bigint {
  const { state, vcpu } = guest;
  const platform = native(guest, MSR.MISC_ENABLE);
  if (state.facts.features.veReduction) return vcpu.msrs.get(MSR.MISC_ENABLE) ?? initialMiscEnable(guest, platform);
  return (platform & ~MISC_ENABLE.PERFMON) | MISC_ENABLE.PEBS_UNAVAILABLE;
}

/** What a TD begins with where the module keeps the MSR for it (helpers.c init_guest_ia32_misc_enable). */
function initialMiscEnable({ td }: Guest, platform: bigint): bigint {
  const perfmon = hasFeature(td, 'perfmon');
  const kept = MISC_ENABLE.FAST_STRINGS | MISC_ENABLE.BTS_UNAVAILABLE | (perfmon ? 0n : MISC_ENABLE.PEBS_UNAVAILABLE);
  const own: [boolean, bigint][] = [
    [perfmon, MISC_ENABLE.PERFMON],
    [hasFeature(td, 'est'), MISC_ENABLE.EST],
    [hasFeature(td, 'monitor'), MISC_ENABLE.MONITOR],
  ];
  return own.reduce((value, [on, bit]) => (on ? value | bit : value), platform & kept);
}

export function ownRead(guest: Guest, index: number): bigint | 've' {
  const { td, vcpu } = guest;
  const configuration = td.configuration!;
  const reduced = REDUCED[index];
  if (reduced) return reducesVe(td) ? reduced(guest) : 've';
  switch (index) {
    case MSR.XAPIC_DISABLE_STATUS:
      return LEGACY_XAPIC_DISABLED;
    case MSR.ARCH_CAPABILITIES:
      return configuration.ia32ArchCapabilities;
    case MSR.MISC_ENABLE:
      return miscEnable(guest);
    case MSR.DEBUGCTL:
      return (vcpu.msrs.get(index) ?? 0n) & ~DEBUGCTL.ENABLE_UNCORE_PMI;
    case MSR.PERF_CAPABILITIES:
      return hasFeature(td, 'perfmon') ? native(guest, index) & ~PEBS_OUTPUT_PT_AVAIL : 0n;
    case MSR.X2APIC_APICID:
      return td.tdCtls & TD_CTLS_ENUM_TOPOLOGY ? BigInt(vcpu.x2apicId) : 've';
    default:
      return readVmx(guest, index);
  }
}

const readVmx = ({ module, td, state }: Guest, index: number): bigint =>
  virtualVmxMsr(module, td, index, state.facts.features.vpInitVersion > 0);

export function ownWrite(guest: Guest, index: number, value: bigint): undefined | 'gp' | 've' {
  switch (index) {
    case MSR.XSS:
      return wrmsrXss(guest, value) && 'gp';
    case MSR.EFER:
      return writeEfer(guest, value);
    case MSR.DEBUGCTL:
      return writeDebugctl(guest, value);
    case MSR.BIOS_UPDT_TRIG:
    case MSR.BIOS_SIGN_ID:
      return reducesVe(guest.td) ? undefined : 've';
    case MSR.FEATURE_ENABLES:
      return reducesVe(guest.td) ? (value === 0n ? undefined : 'gp') : 've';
    case MSR.SMI_COUNT:
      return reducesVe(guest.td) ? void guest.vcpu.msrs.set(index, value) : 've';
    case MSR.MISC_ENABLE:
      return reducesVe(guest.td) ? writeMiscEnable(guest, value) : 've';
    default:
      return 've';
  }
}

/** Only SCE may change; LMA is not the guest's to write. */
function writeEfer({ cpu }: Guest, value: bigint): undefined | 've' {
  const { efer } = cpu.mode;
  const next = (value & ~EFER_LMA) | (efer & EFER_LMA);
  if ((next ^ efer) & ~EFER_SCE) return 've';
  if (next !== efer) cpu.mode.efer = next;
  return undefined;
}

function writeDebugctl({ vcpu, td, state }: Guest, value: bigint): undefined | 'gp' | 've' {
  if (value & DEBUGCTL.RESERVED) return 'gp';
  if (value & DEBUGCTL.TR && !(value & DEBUGCTL.BTS)) return 've';
  const has = (feature: 'perfmon' | 'tsx'): boolean => hasFeature(td, feature);
  // Since 1.5.05.
  if (state.facts.features.vpInitVersion > 0) {
    if (value & DEBUGCTL.FREEZE_WHILE_SMM && !has('perfmon')) return 'gp';
    if (value & DEBUGCTL.RTM && !has('tsx')) return 'gp';
  }
  vcpu.msrs.set(MSR.DEBUGCTL, value & ~DEBUGCTL.ENABLE_UNCORE_PMI);
  return undefined;
}

const MUST_BE_ZERO = 0xffff_ffff_ff3a_e776n;
const READ_ONLY = MISC_ENABLE.PERFMON | MISC_ENABLE.BTS_UNAVAILABLE | MISC_ENABLE.PEBS_UNAVAILABLE;

/** What is only to be read is ignored (td_msr_access.c wrmsr_ia32_misc_enable). */
function writeMiscEnable(guest: Guest, value: bigint): undefined | 'gp' | 've' {
  const { td, vcpu } = guest;
  const old = miscEnable(guest);
  if (value & MUST_BE_ZERO) return 'gp';
  if (value & MISC_ENABLE.EST && !hasFeature(td, 'est')) return 'gp';
  if ((value ^ old) & MISC_ENABLE.MONITOR || value & MISC_ENABLE.LIMIT_CPUID) return 've';
  if (value & MISC_ENABLE.XTPR_DISABLE && !hasFeature(td, 'xtpr')) return 'gp';
  vcpu.msrs.set(MSR.MISC_ENABLE, (value & ~READ_ONLY) | (old & READ_ONLY));
  return undefined;
}
