import { NativeCpuid } from '../../cpuid/index.js';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import type { Platform } from '../platform.js';

export const supportedCpuid = (platform: Platform): CpuidEntry[] =>
  platform.cpuid.map((row) => ({
    function: Number(row.leaf),
    index: Number(row.subleaf ?? 0),
    flags: row.subleaf === null ? 0 : KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
    eax: Number(row.eax),
    ebx: Number(row.ebx),
    ecx: Number(row.ecx),
    edx: Number(row.edx),
  }));
void NativeCpuid;
