import type { Guest } from './guest-context.js';
import { hasFeature } from './guest-features.js';
import { wrmsrXss } from './wrmsr.js';

// MSRs that the module answers itself (td_msr_access.c td_rdmsr_exit, td_wrmsr_exit). A result that is no value is an exception.

const MSR = {
  XAPIC_DISABLE_STATUS: 0xbd,
  ARCH_CAPABILITIES: 0x10a,
  MISC_ENABLE: 0x1a0,
  DEBUGCTL: 0x1d9,
  PERF_CAPABILITIES: 0x345,
  X2APIC_APICID: 0x802,
  XSS: 0xda0,
  EFER: 0xc000_0080,
} as const;

const LEGACY_XAPIC_DISABLED = 1n;
const TD_CTLS_ENUM_TOPOLOGY = 2n;
const MISC_ENABLE = { PERFMON: 1n << 7n, PEBS_UNAVAILABLE: 1n << 12n } as const;
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

export function ownRead(guest: Guest, index: number): bigint | 've' {
  const { td, vcpu } = guest;
  const configuration = td.configuration!;
  switch (index) {
    case MSR.XAPIC_DISABLE_STATUS:
      return LEGACY_XAPIC_DISABLED;
    case MSR.ARCH_CAPABILITIES:
      return configuration.ia32ArchCapabilities;
    case MSR.MISC_ENABLE:
      return (native(guest, index) & ~MISC_ENABLE.PERFMON) | MISC_ENABLE.PEBS_UNAVAILABLE;
    case MSR.DEBUGCTL:
      return (vcpu.msrs.get(index) ?? 0n) & ~DEBUGCTL.ENABLE_UNCORE_PMI;
    case MSR.PERF_CAPABILITIES:
      return hasFeature(configuration, 'perfmon') ? native(guest, index) & ~PEBS_OUTPUT_PT_AVAIL : 0n;
    case MSR.X2APIC_APICID:
      return td.tdCtls & TD_CTLS_ENUM_TOPOLOGY ? BigInt(vcpu.x2apicId) : 've';
    default:
      return readVmx(guest, index);
  }
}

/** Nested virtualisation is not modelled; its capabilities read as they would without L2 VMs: 0. */
const readVmx = (_: Guest, _index: number): bigint => 0n;

export function ownWrite(guest: Guest, index: number, value: bigint): undefined | 'gp' | 've' {
  switch (index) {
    case MSR.XSS:
      return wrmsrXss(guest, value) && 'gp';
    case MSR.EFER:
      return writeEfer(guest, value);
    case MSR.DEBUGCTL:
      return writeDebugctl(guest, value);
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
  const has = (feature: 'perfmon' | 'tsx'): boolean => hasFeature(td.configuration!, feature);
  // Since 1.5.05.
  if (state.facts.features.vpInitVersion > 0) {
    if (value & DEBUGCTL.FREEZE_WHILE_SMM && !has('perfmon')) return 'gp';
    if (value & DEBUGCTL.RTM && !has('tsx')) return 'gp';
  }
  vcpu.msrs.set(MSR.DEBUGCTL, value & ~DEBUGCTL.ENABLE_UNCORE_PMI);
  return undefined;
}
