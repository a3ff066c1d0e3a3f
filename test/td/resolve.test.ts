import { expect, test } from 'vitest';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../src/kvm/constants.js';
import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import type { TdHostFacts } from '../../src/td/host-facts.js';
import { fiveLevelEpt } from '../../src/td/host-facts.js';
import { initVmParams, resolveTd } from '../../src/td/resolve.js';
import { spr, vectorHost } from './hosts.js';

const at = (entries: readonly CpuidEntry[], leaf: number, index = 0) =>
  entries.find((entry) => entry.function === leaf && entry.index === index)!;

const withXfam = (supportedXfam: bigint): TdHostFacts => ({
  ...spr,
  capabilities: { ...spr.capabilities, supportedXfam },
});

test('the defaults make a TD on any host: one vCPU, GPAW 48, SEPT_VE_DISABLE, all supported XFAM', () => {
  const td = resolveTd({}, spr);
  expect(td).toMatchObject({
    vcpus: 1,
    maxVcpus: undefined,
    gpaw: 48,
    attributes: 0x10000000n,
    xfam: 0x602e7n,
    tscKhz: 2_000_000,
    memory: 256 * 2 ** 20,
    mrConfigId: new Uint8Array(48),
  });
  expect('image' in td).toBe(false);
});

test('SEPT_VE_DISABLE is left out by default where the host does not offer it', () => {
  expect(resolveTd({}, { ...spr, capabilities: { ...spr.capabilities, supportedAttrs: 1n } }).attributes).toBe(0n);
});

test('the default XFAM leaves out groups of which a host has only a part', () => {
  expect(resolveTd({}, withXfam(0x20467n)).xfam).toBe(0x407n);
  expect(resolveTd({}, withXfam(0x1803n)).xfam).toBe(0x1803n);
});

test('names, numbers, hexadecimal text and bigint mean the same', () => {
  const xfam = (value: number | bigint | string | ('AVX' | 'AVX512')[]) => resolveTd({ xfam: value }, spr).xfam;
  expect([xfam(['AVX512']), xfam(0xe7), xfam('0xE4'), xfam(0xe4n)]).toEqual([0xe7n, 0xe7n, 0xe7n, 0xe7n]);
  expect(resolveTd({ attributes: ['PERFMON'] }, spr).attributes).toBe(1n << 63n);
});

test('48 bytes may be hexadecimal digits, base64 or bytes', () => {
  const bytes = Uint8Array.from({ length: 48 }, (_, at) => at * 5);
  const hex = Buffer.from(bytes).toString('hex');
  const base64 = Buffer.from(bytes).toString('base64');
  const td = resolveTd({ mrConfigId: `0x${hex}`, mrOwner: base64, mrOwnerConfig: bytes }, spr);
  expect([td.mrConfigId, td.mrOwner, td.mrOwnerConfig]).toEqual([bytes, bytes, bytes]);
});

test.each([
  ['4KiB', 4096],
  ['3 GiB', 3 * 2 ** 30],
  [8192, 8192],
])('memory %s is %d bytes', (memory, bytes) => {
  expect(resolveTd({ memory }, spr).memory).toBe(bytes);
});

test('the TSC frequency is what the TD will have: rounded down to 25 MHz', () => {
  expect(resolveTd({ tscKhz: 2_013_000 }, spr).tscKhz).toBe(2_000_000);
  expect(resolveTd({}, { ...spr, tscKhz: 1_996_250 }).tscKhz).toBe(1_975_000);
  expect(resolveTd({}, { ...spr, tscKhz: 0 }).tscKhz).toBe(0);
});

test('every CPUID entry is a configurable leaf, once, and has the index flag', () => {
  const { cpuid } = resolveTd({}, spr);
  expect(cpuid.map(({ function: leaf, index }) => [leaf, index])).toEqual(
    spr.capabilities.cpuid.map(({ function: leaf, index }) => [leaf, index]),
  );
  expect(cpuid.every(({ flags }) => flags === KVM_CPUID_FLAG_SIGNIFCANT_INDEX)).toBe(true);
});

test('by default the values are those that KVM supports, under the masks of the capabilities', () => {
  const { cpuid } = resolveTd({}, spr);
  const native = at([...spr.supportedCpuid], 7);
  const mask = at(spr.capabilities.cpuid, 7);
  expect(at(cpuid, 7).ebx).toBe((native.ebx & mask.ebx) >>> 0);
  expect(at(cpuid, 1).eax).toBe(0);
});

test('the topology is that of the TD: vcpus cores of one thread in one package', () => {
  const { cpuid } = resolveTd({ vcpus: 6 }, spr);
  expect(at(cpuid, 0x1f, 0)).toMatchObject({ eax: 0, ebx: 1, ecx: 0x100 });
  expect(at(cpuid, 0x1f, 1)).toMatchObject({ eax: 3, ebx: 6, ecx: 0x201 });
  expect(at(cpuid, 0x1f, 2)).toMatchObject({ eax: 0, ebx: 0, ecx: 2 });
  expect((at(cpuid, 1).ebx >>> 16) & 0xff).toBe(6);
  expect((at(cpuid, 1).edx >>> 28) & 1).toBe(1);
  expect(resolveTd({}, spr).cpuid.find((entry) => entry.function === 1)!.edx & (1 << 28)).toBe(0);
});

test('cpuidBase "zero" sends nothing but the GPAW', () => {
  expect(resolveTd({ cpuidBase: 'zero' }, spr).cpuid).toEqual([
    { function: 0x80000008, index: 0, flags: 1, eax: 48 << 16, ebx: 0, ecx: 0, edx: 0 },
  ]);
});

test('registers that are given replace the default, the others stay', () => {
  const base = at(resolveTd({}, spr).cpuid, 7);
  const { cpuid } = resolveTd({ cpuid: [{ leaf: '0x7', ecx: '0x100' }] }, spr);
  expect(at(cpuid, 7)).toEqual({ ...base, ecx: 0x100 });
});

test('features set and clear single bits and fields over everything else', () => {
  const config = { cpuidBase: 'zero', features: { wbnoinvd: true, LOGICAL_CPUS: 9, HT: 1, AVX512F: false } } as const;
  const { cpuid } = resolveTd(config, spr);
  expect(at(cpuid, 0x80000008)).toMatchObject({ eax: 48 << 16, ebx: 0x200 });
  expect(at(cpuid, 1)).toMatchObject({ ebx: 9 << 16, edx: 1 << 28 });
  expect(at(cpuid, 7)).toBeUndefined();
  expect(at(resolveTd({}, spr).cpuid, 7).ebx & (1 << 8)).not.toBe(0);
  expect(at(resolveTd({ features: { BMI2: false } }, spr).cpuid, 7).ebx & (1 << 8)).toBe(0);
});

test('the GPAW stands in EAX[23:16] of leaf 0x80000008', () => {
  const eax = (gpaw: 48 | 52) => at(resolveTd({ gpaw, cpuidBase: 'zero' }, spr).cpuid, 0x80000008).eax;
  expect([eax(48), eax(52)]).toEqual([0x300000, 0x340000]);
});

test('the parameters of KVM_TDX_INIT_VM are the resolved numbers', () => {
  const td = resolveTd({ mrOwner: 'ff'.repeat(48) }, spr);
  expect(initVmParams(td)).toEqual({
    attributes: td.attributes,
    xfam: td.xfam,
    mrConfigId: new Uint8Array(48),
    mrOwner: new Uint8Array(48).fill(0xff),
    mrOwnerConfig: new Uint8Array(48),
    cpuid: td.cpuid,
  });
});

test.each([
  [0x0034_3934, true],
  [0x0030_3934, false],
  [0x0030_302e, undefined],
  [0x0000_3934, undefined],
])('CPUID(0x80000008).EAX 0x%s of KVM says 5-level EPT: %s', (eax, expected) => {
  const row = { function: 0x80000008, index: 0, flags: 0, eax, ebx: 0, ecx: 0, edx: 0 };
  expect(fiveLevelEpt([row])).toBe(expected);
});

test('a host without AMX gets no AMX by default', () => {
  expect(resolveTd({}, vectorHost('spr_nola57')).xfam & 0x60000n).toBe(0n);
});
