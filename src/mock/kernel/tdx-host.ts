import { KVM_X86_TDX_VM } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import type { TdxCapabilities } from '../../kvm/vm.js';
import type { TdxModule } from '../module/module.js';

/** A row of the module's CPUID_CONFIG: bits that may be configured. */
export interface CpuidConfig {
  leaf: number;
  /** Null where the leaf has none. */
  subleaf: number | null;
  /** Index in TD_PARAMS.CPUID_CONFIG where it is not the row's own. */
  slot?: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/** struct tdx_sys_info: the module's global metadata, as far as KVM uses it. */
export interface TdxSysInfo {
  tdxFeatures0: bigint;
  attributesFixed0: bigint;
  attributesFixed1: bigint;
  xfamFixed0: bigint;
  xfamFixed1: bigint;
  /** Undefined where the module does not know the field (1.5.01). */
  maxVcpusPerTd: number | undefined;
  /** TDX control structures, in pages of 4096 bytes. */
  tdcsPages: number;
  tdvpsPages: number;
  /** In the order of TD_PARAMS.CPUID_CONFIG. */
  cpuidConfig: readonly CpuidConfig[];
}

/** The initialised TDX module as KVM found it when it was loaded. */
export interface TdxHost {
  module: TdxModule;
  sysInfo: TdxSysInfo;
  /** kvm_caps.supported_xcr0 | kvm_caps.supported_xss. */
  supportedXfam: bigint;
  /** What a captured host reported, in place of what KVM would make of sysInfo. */
  captured?: TdxCapabilities;
}

const SEPT_VE_DISABLE = 1n << 28n;
/** TDX_FEATURES0.TOPOLOGY_ENUM: TDH.VP.INIT takes an x2APIC id. */
const TOPOLOGY_ENUM = 1n << 20n;
const SETUP_EVENT_NOTIFY_INTERRUPT = 1n << 1n;

const HLE_RTM = (1 << 4) | (1 << 11);
const WAITPKG = 1 << 5;

/** tdx_get_supported_attrs(): 0 where the module demands an attribute that KVM does not support. */
export function supportedAttributes({ sysInfo, captured }: TdxHost): bigint {
  if (captured) return captured.supportedAttrs;
  if ((SEPT_VE_DISABLE & sysInfo.attributesFixed1) !== sysInfo.attributesFixed1) return 0n;
  return SEPT_VE_DISABLE & sysInfo.attributesFixed0;
}

/** tdx_get_supported_xfam(). */
export function supportedXfam({ sysInfo, captured, supportedXfam: kvm }: TdxHost): bigint {
  if (captured) return captured.supportedXfam;
  if ((kvm & sysInfo.xfamFixed1) !== sysInfo.xfamFixed1) return 0n;
  return kvm & sysInfo.xfamFixed0;
}

/** tdx_unsupported_cpuid(): KVM denies TSX and WAITPKG to TDs. It looks at the entry's own index, significant or not. */
export const isDeniedToTds = (entry: CpuidEntry): boolean =>
  entry.function === 7 && entry.index === 0 && ((entry.ebx & HLE_RTM) !== 0 || (entry.ecx & WAITPKG) !== 0);

/** Replaces the guest physical address width, bits 23:16, which KVM borrows for the GPAW. */
export const withGuestPhysBits = (eax: number, bits: number): number =>
  ((eax & ~0x00ff_0000) | ((bits & 0xff) << 16)) >>> 0;

/** td_init_cpuid_entry2(): a row as KVM_TDX_CAPABILITIES shows it. `flags` is 0 and "no sub-leaf" is index 0, always. */
export function configurableEntry({ leaf, subleaf, eax, ebx, ecx, edx }: CpuidConfig): CpuidEntry {
  const entry = { function: leaf, index: subleaf ?? 0, flags: 0, eax, ebx, ecx, edx };
  if (leaf === 0x8000_0008) entry.eax = withGuestPhysBits(eax, 0xff);
  if (isDeniedToTds(entry)) {
    entry.ebx = (ebx & ~HLE_RTM) >>> 0;
    entry.ecx = (ecx & ~WAITPKG) >>> 0;
  }
  return entry;
}

/** init_kvm_tdx_caps(). */
export const tdxCapabilities = (tdx: TdxHost): TdxCapabilities =>
  tdx.captured ?? {
    supportedAttrs: supportedAttributes(tdx),
    supportedXfam: supportedXfam(tdx),
    kernelTdvmcallinfo1R11: 0n,
    userTdvmcallinfo1R11: SETUP_EVENT_NOTIFY_INTERRUPT,
    kernelTdvmcallinfo1R12: 0n,
    userTdvmcallinfo1R12: 0n,
    cpuid: tdx.sysInfo.cpuidConfig.map(configurableEntry),
  };

/**
 * __tdx_bringup(): why KVM leaves TDX off although the module is there, in the words of the kernel log, or undefined.
 * Without MAX_VCPUS_PER_TD (module 1.5.01) reading the metadata already fails.
 */
export function whyNoTdx(tdx: TdxHost, presentCpus: number): string | undefined {
  const { sysInfo } = tdx;
  if (sysInfo.maxVcpusPerTd === undefined)
    return 'the TDX module does not have the metadata field MAX_VCPUS_PER_TD (older than 1.5.05)';
  if (supportedAttributes(tdx) === 0n || supportedXfam(tdx) === 0n)
    return 'the TDX module demands attributes or XFAM bits that KVM does not support';
  if ((sysInfo.tdxFeatures0 & TOPOLOGY_ENUM) === 0n) return 'the TDX module lacks TDX_FEATURES0.TOPOLOGY_ENUM';
  if (sysInfo.maxVcpusPerTd < presentCpus)
    return `MAX_VCPU_PER_TD (${sysInfo.maxVcpusPerTd}) smaller than number of logical CPUs (${presentCpus})`;
  return undefined;
}

/** KVM_CAP_VM_TYPES as a set of bits. */
export const vmTypesWithTdx = (vmTypes: number, tdx: boolean): number =>
  tdx ? vmTypes | (1 << KVM_X86_TDX_VM) : vmTypes & ~(1 << KVM_X86_TDX_VM);
