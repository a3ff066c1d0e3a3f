// Which feature bits KVM passes on to guests on Intel processors: arch/x86/kvm/cpuid.c kvm_set_cpu_caps (kvm_cpu_cap_init),
// Linux 6.16.1. Bits are those of the SDM; SGX and processor tracing are off as without special configuration.

const bits = (...numbers: number[]): number => numbers.reduce((mask, bit) => mask | (1 << bit), 0) >>> 0;

/** Native bits that KVM supports, by `leaf.sub-leaf.register`; other registers of these leaves pass. */
export const FEATURES: Readonly<Record<string, number>> = {
  '1.0.ecx': bits(0, 1, 5, 9, 12, 13, 15, 17, 19, 20, 22, 23, 25, 26, 28, 29, 30),
  '1.0.edx': bits(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 19, 23, 24, 25, 26, 27),
  '7.0.ebx': bits(0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 17, 18, 19, 20, 21, 23, 24, 26, 27, 28, 29, 30, 31),
  '7.0.ecx': bits(1, 2, 3, 5, 6, 8, 9, 10, 11, 12, 14, 16, 22, 24, 25, 27, 28),
  '7.0.edx': bits(2, 3, 4, 8, 10, 14, 16, 22, 23, 24, 25, 26, 27, 28, 31),
  '7.1.eax': bits(0, 1, 2, 4, 5, 7, 10, 11, 12, 19, 21, 23, 26),
  '7.1.ebx': 0,
  '7.1.ecx': 0,
  '7.1.edx': bits(4, 5, 8, 10, 14, 19),
  '7.2.eax': 0,
  '7.2.ebx': 0,
  '7.2.ecx': 0,
  '7.2.edx': bits(0, 1, 2, 3, 4, 5),
  'd.1.eax': bits(0, 1, 2, 3, 4),
  '80000001.0.ecx': bits(0, 5, 8),
  '80000001.0.edx': bits(11, 20, 26, 27, 29),
  '80000007.0.eax': 0,
  '80000007.0.ebx': 0,
  '80000007.0.ecx': 0,
  '80000007.0.edx': bits(8),
  '80000008.0.ebx': bits(9),
};

/** Bits that KVM emulates, whether the processor has them or not. */
export const EMULATED: Readonly<Record<string, number>> = {
  /** x2APIC, TSC deadline, hypervisor. */
  '1.0.ecx': bits(21, 24, 31),
  /** TSC_ADJUST. */
  '7.0.ebx': bits(1),
  /** ARCH_CAPABILITIES. */
  '7.0.edx': bits(29),
  /** IBPB, IBRS, STIBP and SSBD as AMD enumerates them. */
  '80000008.0.ebx': bits(12, 14, 15, 24),
};

/** cpuid_function_is_indexed(). */
export const INDEXED_LEAVES: ReadonlySet<number> = new Set([
  4, 7, 0xb, 0xd, 0xf, 0x10, 0x12, 0x14, 0x17, 0x18, 0x1d, 0x1e, 0x1f, 0x23, 0x24, 0x8000_001d,
]);

/** KVM_CPUID_FEATURES: clock, async page faults, PV EOI, steal time, unhalt, TLB flush, IPIs, poll control, yield. */
export const KVM_FEATURES = bits(0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 24);
