import type { MockHost } from '../../mock/kernel/host.js';

const range = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);

/**
 * KVM_GET_MSR_INDEX_LIST: msrs_to_save_base, msrs_to_save_pmu and emulated_msrs_all of x86.c, as far as a processor with
 * TDX has them and KVM offers them to guests (no Intel PT, no MPX, no MSR of AMD's). Addresses: SDM volume 4, asm/kvm_para.h,
 * asm/hyperv-tlfs.h.
 */
export const SAVED_MSRS: readonly number[] = [
  // SYSENTER, STAR and its kin, TSC, PAT, FEAT_CTL, TSC_AUX, SPEC_CTRL, TSX_CTRL, UMWAIT_CONTROL, XFD
  ...[0x174, 0x175, 0x176, 0xc000_0081, 0xc000_0083, 0xc000_0102, 0xc000_0084, 0xc000_0082],
  ...[0x10, 0x277, 0x3a, 0xc000_0103, 0x48, 0x122, 0xe1, 0x1c4, 0x1c5],
  // performance monitoring: fixed counters and their control, PEBS, eight counters with their events
  ...[0x309, 0x30a, 0x30b, 0x38d, 0x38e, 0x38f, 0x3f1, 0x600, 0x3f2, ...range(0xc1, 8), ...range(0x186, 8)],
];

const EMULATED_MSRS: readonly number[] = [
  // kvmclock, Hyper-V
  ...[0x11, 0x12, 0x4b56_4d00, 0x4b56_4d01],
  ...[0x4000_0000, 0x4000_0001, 0x4000_0020, 0x4000_0021, 0x4000_0022, 0x4000_0023, ...range(0x4000_0100, 6)],
  ...[0x4000_0003, 0x4000_0002, 0x4000_0010, 0x4000_0080, 0x4000_00b0, 0x4000_0073, 0x4000_0106, 0x4000_0107],
  ...[0x4000_0108, 0x4000_0118, 0x4000_00ff, ...range(0x4000_00f1, 5)],
  // asynchronous page faults, steal time, EOI
  ...[0x4b56_4d02, 0x4b56_4d03, 0x4b56_4d04, 0x4b56_4d06, 0x4b56_4d07],
  // TSC_ADJUST, TSC_DEADLINE, capabilities, MISC_ENABLE, machine checks, SMM, PLATFORM_INFO, POWER_CTL, UCODE_REV
  ...[0x3b, 0x6e0, 0x10a, 0x345, 0x1a0, 0x17a, 0x17b, 0x4d0, 0x9e, 0x34, 0xce, 0x140, 0x1fc, 0x8b],
  // VMX, K7_HWCR, POLL_CONTROL
  ...[0x480, 0x48d, 0x48e, 0x48f, 0x490, 0x485, 0x486, 0x488, 0x48a, 0x48b, 0x48c, 0x491, 0xc001_0015, 0x4b56_4d05],
];

export const MSR_INDEX_LIST: readonly number[] = [...SAVED_MSRS, ...EMULATED_MSRS];

const UCODE_REV = 0x8b;
const PLATFORM_INFO = 0xce;
const ARCH_CAPABILITIES = 0x10a;
const PERF_CAPABILITIES = 0x345;

/** KVM_GET_MSR_FEATURE_INDEX_LIST: the VMX MSRs, and those that are CPUID leaves in all but name. */
export const FEATURE_MSRS: readonly number[] = [
  ...range(0x480, 18),
  UCODE_REV,
  ARCH_CAPABILITIES,
  PERF_CAPABILITIES,
  PLATFORM_INFO,
];

const advertised = new Set([...MSR_INDEX_LIST, ...FEATURE_MSRS]);

/** kvm_is_advertised_msr(). */
export const isAdvertisedMsr = (index: number): boolean => advertised.has(index);

/** kvm_get_feature_msr(): undefined where it is none. What the host has not told of a register reads as 0. */
export function featureMsr(host: MockHost, index: number): bigint | undefined {
  if (!FEATURE_MSRS.includes(index)) return undefined;
  // Faulting CPUID is all that KVM shows of it.
  if (index === PLATFORM_INFO) return 1n << 31n;
  return BigInt(host.profile.platform.msr[`0x${index.toString(16)}`] ?? 0);
}
