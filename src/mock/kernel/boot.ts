import { loadRules, NativeCpuid } from '../../cpuid/index.js';
import { decodeTdxStatus } from '../../kvm/status.js';
import { type BootResult, bootModule, type ModuleBoot } from '../module/boot.js';
import { initTd } from '../module/mng-init.js';
import { TdxModule, type TdxModuleOptions } from '../module/module.js';
import type { InitTd } from '../module/module-state.js';
import type { Platform } from '../platform.js';
import { rulesVersion } from '../profile-platform.js';
import type { Profile } from '../profiles.js';
import { capturedConfig, capturedInitTd } from './captured-module.js';
import { PhysicalMemory } from './physical-memory.js';
import type { KeyedAddress } from './seamcalls.js';
import type { TdxHost, TdxSysInfo } from './tdx-host.js';

/** TDCS and TDVPS have six pages each without L2 VMs (TDCS_BASE_SIZE, TDVPS_BASE_SIZE of all published modules). */
const TDCS_PAGES = 6;
const TDVPS_PAGES = 6;

/** User features that KVM knows: x87, SSE, AVX, MPX, AVX-512, PKRU, AMX (KVM_SUPPORTED_XCR0). It supports no supervisor ones. */
const KVM_SUPPORTED_XCR0 = 0x602ffn;

const MSR_KEYID_PARTITIONING = '0x87';
const MSR_TME_ACTIVATE = '0x982';
const MSR_EPT_VPID_CAP = '0x48c';
const EPT_5_LEVELS = 1n << 7n;

/** The kernel's own data lies here where no TDMR does. */
const KERNEL_DATA = 0x100_0000n;
const KERNEL_DATA_SIZE = 0x1000_0000n;
const PAGE = 4096n;

/** What a kernel finds out about the machine while it starts. */
export interface TdxBoot {
  maxPhyAddr: number;
  ept5Levels: boolean;
  packages: number;
  memory: PhysicalMemory;
  kernelData: { pa: bigint; sharedEptRoot: bigint };
  keyed: KeyedAddress;
  globalHkid: number;
  guestKeyIds: { first: number; count: number };
  /** Undefined where the module does not start; `whyNoModule` says why. */
  tdx: TdxHost | undefined;
  whyNoModule: string | undefined;
}

/** What the module needs for executing guests. */
type Guests = Pick<TdxModuleOptions, 'engine' | 'onGuest' | 'tsc'>;

const booted = new WeakMap<Platform, Map<string, BootResult>>();

/** The module of a version started on a platform, once for all hosts: what it finds does not change. */
function bootOnce(version: string, platform: Platform): BootResult {
  const ofPlatform = booted.get(platform) ?? new Map<string, BootResult>();
  booted.set(platform, ofPlatform);
  let result = ofPlatform.get(version);
  if (!result) {
    result = bootModule(loadRules(version), platform);
    ofPlatform.set(version, result);
  }
  return result;
}

/** What CPUID, MSRs and the firmware say. */
interface Machine {
  maxPhyAddr: number;
  ept5Levels: boolean;
  keyIdBits: number;
  /** Private KeyIDs, the module's own among them. */
  tdxKeyIds: number;
  supportedXfam: bigint;
}

const machines = new WeakMap<Platform, Machine>();

function machineOf(platform: Platform): Machine {
  let machine = machines.get(platform);
  if (machine) return machine;
  const native = new NativeCpuid(platform.cpuid);
  const msr = (index: string) => BigInt(platform.msr[index] ?? 0);
  const [xcr0Low, , , xcr0High] = native.read(0xd, 0);
  machine = {
    maxPhyAddr: native.read(0x8000_0008, null)[0] & 0xff,
    ept5Levels: (msr(MSR_EPT_VPID_CAP) & EPT_5_LEVELS) !== 0n,
    keyIdBits: Number((msr(MSR_TME_ACTIVATE) >> 32n) & 0xfn),
    tdxKeyIds: Number(msr(MSR_KEYID_PARTITIONING) >> 32n),
    supportedXfam: (BigInt(xcr0Low) | (BigInt(xcr0High) << 32n)) & KVM_SUPPORTED_XCR0,
  };
  machines.set(platform, machine);
  return machine;
}

/** Starts the profile's TDX module on its platform, as the core kernel does before KVM is loaded. */
export function bootTdx(profile: Profile, guests: Guests = {}): TdxBoot {
  const { sys } = profile.platform;
  const { maxPhyAddr, ept5Levels, keyIdBits, tdxKeyIds } = machineOf(profile.platform);
  const tdmr = { base: BigInt(sys.tdmr_base), size: BigInt(sys.tdmr_size) };
  const data = tdmr.base >= KERNEL_DATA + KERNEL_DATA_SIZE ? KERNEL_DATA : tdmr.base + tdmr.size;
  const memory = new PhysicalMemory(tdmr, data + 2n * PAGE);
  const result = bootOnce(rulesVersion(profile.module.version), profile.platform);
  return {
    maxPhyAddr,
    ept5Levels,
    packages: sys.num_pkgs ?? 1,
    memory,
    kernelData: { pa: data, sharedEptRoot: data + PAGE },
    keyed: (pa, hkid) => pa | (BigInt(hkid) << BigInt(maxPhyAddr - keyIdBits)),
    globalHkid: sys.global_hkid,
    // Of the private KeyIDs the first is the module's own; the rest is for TDs.
    guestKeyIds: { first: sys.global_hkid + 1, count: Math.max(tdxKeyIds - 1, 0) },
    tdx: result.ok ? tdxHost(result.module, profile, memory, guests) : undefined,
    whyNoModule: result.ok ? undefined : `${result.call} failed: ${decodeTdxStatus(result.status).text}`,
  };
}

function tdxHost(boot: ModuleBoot, profile: Profile, memory: PhysicalMemory, guests: Guests): TdxHost {
  const { capabilities } = profile;
  const byRules: InitTd = (params, pages) => initTd(boot, params, pages);
  const host: TdxHost = {
    module: new TdxModule({
      boot,
      memory,
      ...guests,
      ...(capabilities && { initTd: capturedInitTd(byRules, boot, capabilities) }),
    }),
    sysInfo: sysInfoOf(boot, profile),
    supportedXfam: machineOf(profile.platform).supportedXfam,
  };
  if (capabilities) host.captured = capabilities;
  return host;
}

/** What the kernel reads from the module. Where a host was captured, its list of configurable leaves wins. */
function sysInfoOf(boot: ModuleBoot, { capabilities }: Profile): TdxSysInfo {
  const { sysInfo } = boot;
  const { tdxFeatures0, attributesFixed0, attributesFixed1, xfamFixed0, xfamFixed1, maxVcpusPerTd } = sysInfo;
  return {
    tdxFeatures0,
    attributesFixed0,
    attributesFixed1,
    xfamFixed0,
    xfamFixed1,
    maxVcpusPerTd,
    tdcsPages: TDCS_PAGES,
    tdvpsPages: TDVPS_PAGES,
    cpuidConfig: capabilities ? capturedConfig(boot, capabilities) : sysInfo.cpuidConfig,
  };
}
