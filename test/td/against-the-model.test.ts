import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CPUID_FEATURES } from '../../src/cpuid/names.js';
import { KVM_CAP, KVM_X86_TDX_VM } from '../../src/kvm/constants.js';
import { KvmError } from '../../src/kvm/errors.js';
import { explainInitVmFailure } from '../../src/launch/diagnose.js';
import { openMock } from '../../src/mock/index.js';
import { gatherHostFacts } from '../../src/td/host-facts.js';
import { initVmParams, resolveTd } from '../../src/td/resolve.js';
import type { TdConfig } from '../../src/td/schema.js';
import { validateTd } from '../../src/td/validate.js';
import { vcpuCpuid } from '../../src/td/vcpu-cpuid.js';

// The validator says what should be accepted, the model decides what is.
fc.configureGlobal({ seed: 1 });

const u32 = fc.integer({ min: 0, max: 0xffffffff });
const value = fc.oneof(
  fc.constant(0),
  fc.nat(31).map((bit) => 2 ** bit),
  u32,
);
const names = CPUID_FEATURES.map(({ name }) => name);
const usualXfam = fc.uniqueArray(fc.constantFrom('AVX', 'AVX512', 'PKRU'));
const anyXfam = fc.uniqueArray(fc.constantFrom('AVX', 'AVX512', 'AMX', 'PKRU', 'CET', 'OPMASK', 'XTILECFG'));
const usualTsc = fc.integer({ min: 100_000, max: 10_000_000 });

const configs = fc.record(
  {
    vcpus: fc.integer({ min: 1, max: 9 }),
    attributes: fc.constantFrom(['SEPT_VE_DISABLE'], [], [], ['DEBUG'], 0x1000_0000, '0x10000000'),
    xfam: fc.oneof({ weight: 4, arbitrary: usualXfam }, anyXfam),
    gpaw: fc.constantFrom(48, 52),
    tscKhz: fc.oneof({ weight: 5, arbitrary: usualTsc }, fc.integer({ min: 1, max: 0x7fff_fffe })),
    cpuidBase: fc.constantFrom('host', 'zero'),
    cpuid: fc.array(
      fc.record(
        {
          leaf: fc.constantFrom(1, 4, 6, 7, 0xa, 0x1c, 0x1f, 0x23, 0x8000_0008),
          subleaf: fc.constantFrom(0, 1, 2),
          eax: value,
          ebx: value,
          ecx: value,
          edx: value,
        },
        { requiredKeys: ['leaf'] },
      ),
      { maxLength: 1 },
    ),
    features: fc.dictionary(fc.constantFrom(...names), fc.boolean(), { maxKeys: 1 }),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<TdConfig>;

/** Builds the TD up to its finalisation, without memory. */
function build(system: ReturnType<typeof openMock>, config: TdConfig, host: ReturnType<typeof gatherHostFacts>) {
  const td = resolveTd(config, host);
  const vm = system.createVm(KVM_X86_TDX_VM);
  try {
    vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
    vm.setTscKhz(td.tscKhz);
    vm.tdx.initVm(initVmParams(td));
    for (let id = 0; id < td.vcpus; id++) {
      const vcpu = vm.createVcpu(id);
      vcpu.setCpuid2(vcpuCpuid(td, host, id, vcpu.tdx.getCpuid()));
      vcpu.tdx.initVcpu(0n);
    }
    vm.tdx.finalizeVm();
    return undefined;
  } catch (error) {
    if (!(error instanceof KvmError)) throw error;
    const freshVm = () => {
      const fresh = system.createVm(KVM_X86_TDX_VM);
      fresh.setTscKhz(td.tscKhz);
      return fresh;
    };
    const isInit = error.request === 'KVM_TDX_INIT_VM';
    return {
      error,
      diagnosis: isInit ? explainInitVmFailure(vm, initVmParams(td), error, host, { freshVm }) : undefined,
    };
  } finally {
    vm.close();
  }
}

const PROFILES = ['spr-1.5.06', 'spr-1.5.05', 'gnr-1.5.06', 'spr_nola57-1.5.06', 'spr_lass-1.5.06'];

test.each(PROFILES)('a configuration without errors becomes a finalised TD on %s', (profile) => {
  const system = openMock({ profile });
  const host = gatherHostFacts(system);
  let built = 0;
  fc.assert(
    fc.property(configs, (config) => {
      const findings = validateTd(config, host);
      // Where the host does not say, only trying can tell.
      const open = ['kvm.init-vm.gpaw-5level', 'module.mng-init.fms', 'module.mng-init.tsx-ctrl'];
      if (findings.some(({ severity, rule }) => severity === 'error' || open.includes(rule))) return;
      built++;
      expect(build(system, config, host)?.error.message).toBeUndefined();
    }),
    { numRuns: 150 },
  );
  expect(built).toBeGreaterThan(5);
  system.close();
});

test.each(PROFILES)('the rule that refuses a TD on %s is among those that explain it', (profile) => {
  const system = openMock({ profile });
  const host = gatherHostFacts(system);
  let refused = 0;
  fc.assert(
    fc.property(configs, (config) => {
      const { error, diagnosis } = build(system, config, host) ?? {};
      if (error === undefined || diagnosis === undefined) return;
      refused++;
      const rules: (string | undefined)[] = diagnosis.findings.map(({ rule }) => rule);
      expect(rules).toContain(error.rule === 'module.mng-init.fms-platform' ? 'module.mng-init.fms' : error.rule);
      expect(diagnosis.stopped).toBeUndefined();
      if (diagnosis.status?.operand === 'CPUID_CONFIG') expect(diagnosis.culprits.length).toBeGreaterThan(0);
    }),
    { numRuns: 150 },
  );
  expect(refused).toBeGreaterThan(20);
  system.close();
});
