/** One `struct kvm_cpuid_entry2`. All fields are unsigned 32-bit numbers. */
export interface CpuidEntry {
  /** Leaf, the EAX input. */
  function: number;
  /** Sub-leaf, the ECX input. */
  index: number;
  /** Bit 0 is KVM_CPUID_FLAG_SIGNIFCANT_INDEX. */
  flags: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}
