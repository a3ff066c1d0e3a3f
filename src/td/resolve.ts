import type { CpuidEntry } from '../kvm/cpuid.js';
import type { TdxInitVm } from '../kvm/vm.js';
import { TD_ATTRIBUTES } from './attributes.js';
import { maskOf, maskOfNames, type NamedBitsTable } from './bits.js';
import type { TdHostFacts } from './host-facts.js';
import { planCpuid } from './resolve-cpuid.js';
import type { TdConfig } from './schema.js';
import { tdTscKhz } from './tsc.js';
import { toBytes, toBytes48, toU64 } from './values.js';
import { XFAM_ALWAYS, XFAM_FEATURES } from './xfam.js';

/** A configuration on a host, with every default filled in: numbers as the kernel takes them. */
export interface ResolvedTd {
  /** Path of the image; left out: the minimal TD. */
  readonly image?: string;
  /** Bytes. */
  readonly memory: number;
  /** vCPUs to create, ids 0 to vcpus - 1. */
  readonly vcpus: number;
  /** TD_PARAMS.MAX_VCPUS that was asked for; undefined: what the kernel gives. */
  readonly maxVcpus: number | undefined;
  readonly attributes: bigint;
  /** With x87 and SSE, which KVM adds in any case. */
  readonly xfam: bigint;
  readonly gpaw: 48 | 52;
  /** For KVM_SET_TSC_KHZ before KVM_TDX_INIT_VM; 0: the host's, unknown here. */
  readonly tscKhz: number;
  readonly mrConfigId: Uint8Array;
  readonly mrOwner: Uint8Array;
  readonly mrOwnerConfig: Uint8Array;
  /** For KVM_TDX_INIT_VM: flags set, GPAW in leaf 0x80000008. The vCPUs' entries are {@link vcpuCpuid}'s. */
  readonly cpuid: CpuidEntry[];
}

const SEPT_VE_DISABLE = maskOf(TD_ATTRIBUTES.SEPT_VE_DISABLE);

type NamedOrNumber = number | bigint | string | readonly string[];

const toMask = (table: NamedBitsTable, value: NamedOrNumber): bigint =>
  Array.isArray(value) ? maskOfNames(table, value) : toU64(value as number | bigint | string);

/** Everything in `supported` that is legal together: groups of which the host has a part only are left out. */
function largestXfam(supported: bigint): bigint {
  const groups = [XFAM_FEATURES.AVX512, XFAM_FEATURES.CET, XFAM_FEATURES.AMX].map(maskOf);
  const avx = maskOf(XFAM_FEATURES.AVX);
  return groups.reduce((xfam, group) => ((xfam & group) === group ? xfam : xfam & ~(group & ~avx)), supported);
}

const DEFAULT_MEMORY = '256MiB';

/**
 * Fills in what a configuration leaves to the host, and turns it into the kernel's numbers. It judges nothing:
 * {@link validateTd} says whether a TD comes of them.
 */
export function resolveTd(config: TdConfig, host: TdHostFacts): ResolvedTd {
  const { supportedAttrs, supportedXfam } = host.capabilities;
  const attributes =
    config.attributes === undefined ? supportedAttrs & SEPT_VE_DISABLE : toMask(TD_ATTRIBUTES, config.attributes);
  const xfam =
    XFAM_ALWAYS | (config.xfam === undefined ? largestXfam(supportedXfam) : toMask(XFAM_FEATURES, config.xfam));
  return {
    ...(config.image === undefined ? {} : { image: config.image }),
    memory: toBytes(config.memory ?? DEFAULT_MEMORY),
    vcpus: config.vcpus ?? 1,
    maxVcpus: config.maxVcpus,
    attributes,
    xfam,
    gpaw: config.gpaw ?? 48,
    tscKhz: tdTscKhz(config.tscKhz ?? host.tscKhz),
    mrConfigId: toBytes48(config.mrConfigId),
    mrOwner: toBytes48(config.mrOwner),
    mrOwnerConfig: toBytes48(config.mrOwnerConfig),
    cpuid: planCpuid(config, { attributes, xfam }, host).entries,
  };
}

/** `struct kvm_tdx_init_vm` of a resolved TD. */
export const initVmParams = (td: ResolvedTd): TdxInitVm => ({
  attributes: td.attributes,
  xfam: td.xfam,
  mrConfigId: td.mrConfigId,
  mrOwner: td.mrOwner,
  mrOwnerConfig: td.mrOwnerConfig,
  cpuid: td.cpuid,
});
