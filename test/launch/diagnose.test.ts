import { expect, test } from 'vitest';
import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import { KvmError } from '../../src/kvm/errors.js';
import { tdxStatus } from '../../src/kvm/status.js';
import type { TdxInitVm } from '../../src/kvm/vm.js';
import { explainInitVmFailure } from '../../src/launch/diagnose.js';
import type { ProbeOptions } from '../../src/launch/init-vm-probe.js';
import { MNG_INIT_RULES } from '../../src/rulebook/index.js';
import { initVmParams, resolveTd } from '../../src/td/resolve.js';
import { spr, spr1506 } from '../td/hosts.js';
import { FakeVm, KeyIds, outsideMask, refuse, refuseCpuid } from './fake-vm.js';

const good = initVmParams(resolveTd({ cpuidBase: 'host' }, spr));

/** The good request with bits set on top. */
function withBits(
  ...bits: [leaf: number, index: number, register: 'eax' | 'ebx' | 'ecx' | 'edx', bits: number][]
): TdxInitVm {
  const cpuid = good.cpuid.map((entry) => ({ ...entry }));
  for (const [leaf, index, register, mask] of bits) {
    const entry = cpuid.find((row) => row.function === leaf && row.index === index)!;
    entry[register] = (entry[register] | mask) >>> 0;
  }
  return { ...good, cpuid };
}

/** Runs the failing request on a VM and explains what it throws. */
function explain(vm: FakeVm, params: TdxInitVm, options?: ProbeOptions, host = spr) {
  let thrown: unknown;
  try {
    vm.tdx.initVm(params);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(KvmError);
  return explainInitVmFailure(vm.asKvmVm(), params, thrown as KvmError, host, options);
}

/** A module that knows the masks of `accepted`. */
const moduleWith =
  (accepted: readonly CpuidEntry[]) =>
  ({ cpuid }: TdxInitVm) => {
    if (outsideMask(cpuid, accepted)) refuseCpuid();
  };
const sprModule = moduleWith(spr.capabilities.cpuid);

const places = (culprits: readonly { leaf: number; subleaf: number; register: string; bits: number }[]) =>
  culprits.map(
    ({ leaf, subleaf, register, bits }) => `${leaf.toString(16)}.${subleaf}.${register} 0x${bits.toString(16)}`,
  );

test('bits outside the masks are found on the failed VM itself, and nothing succeeds before the end', () => {
  const vm = new FakeVm({ initVm: sprModule });
  const diagnosis = explain(vm, withBits([7, 1, 'eax', 1 << 21], [1, 0, 'ecx', 1]));
  expect(places(diagnosis.culprits)).toEqual(['1.0.ecx 0x1', '7.1.eax 0x200000']);
  expect(diagnosis).toMatchObject({ origin: 'module', attempts: 4, vmInitialised: true, suspects: [] });
  expect(diagnosis.stopped).toBeUndefined();
  expect(diagnosis.findings.map(({ rule, severity, what }) => [rule, severity, what])).toEqual([
    ['module.mng-init.cpuid-config', 'error', 'the module refuses CPUID(0x1).ECX: SSE3 (bit 0)'],
    ['module.mng-init.cpuid-config', 'error', 'the module refuses CPUID(0x7,1).EAX: AMX_FP16 (bit 21)'],
  ]);
});

test('with fresh VMs the failed one stays as it is, and at most one KeyID is held', () => {
  const keyIds = new KeyIds();
  const made: FakeVm[] = [];
  const freshVm = () => {
    const vm = new FakeVm({ initVm: sprModule, keyIds });
    made.push(vm);
    return vm.asKvmVm();
  };
  const vm = new FakeVm({ initVm: sprModule, keyIds });
  const diagnosis = explain(vm, withBits([7, 1, 'eax', 1 << 21]), { freshVm });
  expect(places(diagnosis.culprits)).toEqual(['7.1.eax 0x200000']);
  expect(diagnosis.vmInitialised).toBe(false);
  expect(vm).toMatchObject({ inits: 1, initialised: false, closed: false });
  expect(made.every(({ closed }) => closed)).toBe(true);
  expect(keyIds).toMatchObject({ held: 0, mostHeld: 1 });
});

test('a module that disagrees with its capabilities is found out, bit by bit', () => {
  const stricter = spr.capabilities.cpuid.map((row) =>
    row.function === 7 && row.index === 0 ? { ...row, ebx: row.ebx & ~(1 << 8), edx: row.edx & ~(1 << 4) } : row,
  );
  const freshVm = () => new FakeVm({ initVm: moduleWith(stricter) }).asKvmVm();
  const params = withBits([7, 0, 'ebx', 1 << 8], [7, 0, 'edx', 1 << 4]);
  const diagnosis = explain(new FakeVm({ initVm: moduleWith(stricter) }), params, { freshVm });
  expect(places(diagnosis.culprits).sort()).toEqual(['7.0.ebx 0x100', '7.0.edx 0x10']);
  expect(diagnosis.findings[0]?.what).toContain('although the capabilities list them as configurable');
});

test('without fresh VMs the first success ends the search, and says so', () => {
  const stricter = spr.capabilities.cpuid.map((row) =>
    row.function === 7 && row.index === 0 ? { ...row, ebx: row.ebx & ~(1 << 8) } : row,
  );
  const diagnosis = explain(new FakeVm({ initVm: moduleWith(stricter) }), withBits([7, 0, 'ebx', 1 << 8]));
  expect(diagnosis.culprits).toEqual([]);
  expect(places(diagnosis.suspects)).toContain('7.0.ebx 0x100');
  expect(diagnosis).toMatchObject({ attempts: 1, vmInitialised: true });
  expect(diagnosis.stopped).toBe('an attempt succeeded, and the VM has become a TD');
  expect(diagnosis.findings[0]).toMatchObject({ severity: 'warning', rule: 'module.mng-init.cpuid-config' });
});

test('a wrong family, model and stepping is one culprit, not a bit of it', () => {
  const fms = ({ cpuid }: TdxInitVm) => {
    const eax = cpuid.find((entry) => entry.function === 1)!.eax;
    if (eax !== 0 && eax !== 0x806f8) refuseCpuid();
  };
  const freshVm = () => new FakeVm({ initVm: fms }).asKvmVm();
  const diagnosis = explain(new FakeVm({ initVm: fms }), withBits([1, 0, 'eax', 0x706f8]), { freshVm });
  expect(places(diagnosis.culprits)).toEqual(['1.0.eax 0x706f8']);
  expect(diagnosis.findings[0]?.rule).toBe('module.mng-init.fms');
});

test('a MAXPA that the module refuses is one culprit', () => {
  const refuses = ({ cpuid }: TdxInitVm) => {
    if ((cpuid.find((entry) => entry.function === 0x80000008)!.eax & 0xff) !== 0) refuseCpuid();
  };
  const freshVm = () => new FakeVm({ initVm: refuses }).asKvmVm();
  const diagnosis = explain(
    new FakeVm({ initVm: refuses }),
    withBits([0x80000008, 0, 'eax', 44]),
    { freshVm },
    spr1506,
  );
  expect(places(diagnosis.culprits)).toEqual(['80000008.0.eax 0x2c']);
  expect(diagnosis.findings[0]?.rule).toBe('module.mng-init.maxpa');
});

test('leaf 0x1F is never probed: a part of it would make the kernel warn', () => {
  const seen: number[] = [];
  const watching = (params: TdxInitVm) => {
    for (const entry of params.cpuid) if (entry.function === 0x1f) seen.push(entry.eax | entry.ebx | entry.ecx);
    sprModule(params);
  };
  const vm = new FakeVm({ initVm: watching });
  const params = withBits([0x1f, 1, 'edx', 5]);
  seen.length = 0;
  expect(() => vm.tdx.initVm(params)).toThrow(KvmError);
  seen.length = 0;
  const error = new KvmError({ errno: 22, request: 'KVM_TDX_INIT_VM', hwError: tdxStatus('TDX_OPERAND_INVALID', 69) });
  const diagnosis = explainInitVmFailure(vm.asKvmVm(), params, error, spr);
  expect(places(diagnosis.culprits)).toEqual(['1f.1.edx 0x5']);
  expect(seen.every((bits) => bits === 0)).toBe(true);
  expect(diagnosis.attempts).toBe(1);
});

test('the GPAW stays in every attempt', () => {
  const gpaws = new Set<number>();
  const watching = (params: TdxInitVm) => {
    gpaws.add(params.cpuid.find((entry) => entry.function === 0x80000008)!.eax >>> 16);
    sprModule(params);
  };
  const freshVm = () => new FakeVm({ initVm: watching }).asKvmVm();
  explain(new FakeVm({ initVm: watching }), withBits([7, 1, 'eax', 1]), { freshVm });
  expect([...gpaws]).toEqual([48]);
});

test('the number of attempts is bounded', () => {
  const always = () => refuseCpuid();
  const diagnosis = explain(new FakeVm({ initVm: always }), good, { maxAttempts: 5 });
  expect(diagnosis.attempts).toBe(5);
  expect(diagnosis.stopped).toBe('5 attempts were made');
});

test('a host short of entropy is asked again, another refusal ends the search', () => {
  let calls = 0;
  const moody = (params: TdxInitVm) => {
    calls++;
    if (calls === 2) refuse('EAGAIN');
    if (calls === 4) refuse('ENOSPC');
    sprModule(params);
  };
  const diagnosis = explain(new FakeVm({ initVm: moody }), withBits([7, 1, 'eax', 1], [7, 1, 'ecx', 1]));
  expect(diagnosis.culprits).toHaveLength(1);
  expect(diagnosis.stopped).toMatch(/^an attempt failed for another reason: ENOSPC/);
});

test('EINVAL without a status is a check of KVM, named by what the request violates', () => {
  const kvm = () => refuse('EINVAL');
  const { origin, findings } = explain(new FakeVm({ initVm: kvm }), { ...good, attributes: 1n });
  expect(origin).toBe('kvm');
  expect(findings.map(({ rule, path }) => [rule, path])).toEqual([['kvm.init-vm.attributes-supported', 'attributes']]);
});

test('what only might be wrong is named beside what is', () => {
  const cpuid = initVmParams(resolveTd({ gpaw: 52 }, spr)).cpuid;
  const kvm = () => refuse('EINVAL');
  const host = { ...spr, fiveLevelEpt: undefined };
  const { findings } = explain(new FakeVm({ initVm: kvm }), { ...good, attributes: 1n, cpuid }, {}, host);
  expect(findings.map(({ rule, severity }) => [rule, severity])).toEqual([
    ['kvm.init-vm.attributes-supported', 'error'],
    ['kvm.init-vm.gpaw-5level', 'warning'],
  ]);
});

test('EINVAL that nothing explains names the checks that cannot be seen', () => {
  const { findings } = explain(new FakeVm({ initVm: () => refuse('EINVAL') }), good);
  expect(findings.map(({ rule, severity }) => [rule, severity])).toEqual([
    ['kvm.init-vm.once', 'warning'],
    ['kvm.init-vm.flags', 'warning'],
    ['kvm.init-vm.reserved', 'warning'],
  ]);
});

test.each([
  ['ENOSPC', 'kvm.init-vm.keyid'],
  ['EBUSY', 'kvm.init-vm.misc-cgroup'],
  ['EAGAIN', 'kvm.init-vm.entropy'],
  ['EIO', 'kvm.init-vm.module'],
])('%s names %s', (code, rule) => {
  const { findings, text } = explain(new FakeVm({ initVm: () => refuse(code) }), good);
  expect(findings[0]?.rule).toBe(rule);
  expect(text).toContain(rule);
});

test('EIO with a malformed leaf 0x1F is that: KVM keeps the status to itself', () => {
  const params = withBits([0x1f, 2, 'ecx', 0x100]);
  const { origin, findings } = explain(new FakeVm({ initVm: () => refuse('EIO') }), params);
  expect(origin).toBe('module');
  expect(findings[0]).toMatchObject({ rule: 'module.mng-init.topology', severity: 'error' });
});

test('a status that names an operand is explained by the rule that the request violates', () => {
  const xfam = () => refuse('EINVAL', tdxStatus('TDX_OPERAND_INVALID', 65));
  const { status, findings } = explain(new FakeVm({ initVm: xfam }), { ...good, xfam: 0x23n });
  expect(status).toMatchObject({ name: 'TDX_OPERAND_INVALID', operand: 'XFAM' });
  expect(findings.map(({ rule }) => rule)).toEqual(['module.mng-init.xfam-avx512']);
});

test('a status that nothing explains names every rule about its operand', () => {
  const { findings } = explain(
    new FakeVm({ initVm: () => refuse('EINVAL', tdxStatus('TDX_OPERAND_INVALID', 67)) }),
    good,
  );
  const about = Object.values(MNG_INIT_RULES).filter(({ operand }) => operand === 'EPTP_CONTROLS');
  expect(findings.map(({ rule }) => rule)).toEqual(about.map(({ id }) => id));
  expect(findings.every(({ severity }) => severity === 'warning')).toBe(true);
});

test('MAX_VCPUS is explained with the number that the VM reports', () => {
  const vm = new FakeVm({ maxVcpus: 1000, initVm: () => refuse('EINVAL', tdxStatus('TDX_OPERAND_INVALID', 68)) });
  expect(explain(vm, good).findings[0]?.what).toBe('TD_PARAMS.MAX_VCPUS is 1000');
});
