import fc from 'fast-check';
import { type CpuidHost, cpuidHostOf } from '../../src/cpuid/questions/index.js';
import { KVM_CAP, KVM_X86_TDX_VM } from '../../src/kvm/constants.js';
import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import { KvmError } from '../../src/kvm/errors.js';
import { listProfiles, loadProfile, openMock } from '../../src/mock/index.js';
import { TD_ATTRIBUTES } from '../../src/td/attributes.js';
import { gatherHostFacts } from '../../src/td/host-facts.js';
import { initVmParams, resolveTd } from '../../src/td/resolve.js';
import type { TdConfig } from '../../src/td/schema.js';
import { XFAM_FEATURES } from '../../src/td/xfam.js';

/** Bundled profiles of hosts that can make TDs. */
export const PROFILES = listProfiles().filter((name) => loadProfile(name).module.version !== '1.5.01');

const hosts = new Map<string, CpuidHost>();

export function profileHost(name: string): CpuidHost {
  const known = hosts.get(name);
  if (known) return known;
  using system = openMock({ profile: name });
  const host = cpuidHostOf(system);
  hosts.set(name, host);
  return host;
}

/** KVM_TDX_GET_CPUID of the TD that the model makes of a configuration, or the error of KVM_TDX_INIT_VM. */
export function cpuidOnModel(profile: string, config: TdConfig): CpuidEntry[] | KvmError {
  using system = openMock({ profile });
  const td = resolveTd(config, gatherHostFacts(system));
  using vm = system.createVm(KVM_X86_TDX_VM);
  if (td.maxVcpus !== undefined && gatherHostFacts(system).maxVcpusSettable) {
    vm.enableCap(KVM_CAP.MAX_VCPUS, [BigInt(td.maxVcpus)]);
  }
  vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
  try {
    vm.setTscKhz(td.tscKhz);
    vm.tdx.initVm(initVmParams(td));
  } catch (error) {
    if (error instanceof KvmError) return error;
    throw error;
  }
  using vcpu = vm.createVcpu(0);
  return vcpu.tdx.getCpuid();
}

const xfamNames = Object.keys(XFAM_FEATURES) as (keyof typeof XFAM_FEATURES)[];
const attributeNames = Object.keys(TD_ATTRIBUTES) as (keyof typeof TD_ATTRIBUTES)[];

/** Configurations of which many can be built, and some not. */
export const configurations: fc.Arbitrary<TdConfig> = fc.record(
  {
    vcpus: fc.integer({ min: 1, max: 8 }),
    attributes: fc.uniqueArray(
      fc.oneof({ arbitrary: fc.constant('SEPT_VE_DISABLE' as const), weight: 9 }, fc.constantFrom(...attributeNames)),
      { maxLength: 2 },
    ),
    xfam: fc.uniqueArray(
      fc.oneof(
        { arbitrary: fc.constantFrom('AVX' as const, 'AVX512' as const, 'PKRU' as const, 'AMX' as const), weight: 9 },
        fc.constantFrom(...xfamNames),
      ),
      { maxLength: 4 },
    ),
    gpaw: fc.constantFrom(48 as const, 52 as const),
    tscKhz: fc.integer({ min: 4, max: 400 }).map((n) => n * 25_000),
    cpuidBase: fc.constantFrom('host' as const, 'zero' as const),
    features: fc.dictionary(
      fc.constantFrom(
        'MWAIT',
        'AVX2',
        'AVX512F',
        'AMX_BF16',
        'PKU',
        'LA57',
        'WBNOINVD',
        'AVX_VNNI',
        'CET_SS',
        'HT',
        'ARCH_LBR',
      ),
      fc.boolean(),
      { maxKeys: 3 },
    ),
    cpuid: fc.constantFrom(
      [],
      [{ leaf: 4, subleaf: 1, eax: 0x121 }],
      [{ leaf: 0x1c, eax: 8 }],
      [
        { leaf: 0x1f, subleaf: 0, eax: 1, ebx: 2, ecx: 0x100 },
        { leaf: 0x1f, subleaf: 1, eax: 3, ebx: 8, ecx: 0x201 },
      ],
      [{ leaf: 7, subleaf: 2, edx: 0x28 }],
    ),
  },
  { requiredKeys: [] },
);
