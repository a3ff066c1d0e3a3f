import { expect, test } from 'vitest';
import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import { resolveTd } from '../../src/td/resolve.js';
import type { TdConfig } from '../../src/td/schema.js';
import { vcpuCpuid } from '../../src/td/vcpu-cpuid.js';
import { spr } from './hosts.js';

const entriesOf = (config: TdConfig, id = 0, got: readonly CpuidEntry[] = [], host = spr) =>
  vcpuCpuid(resolveTd(config, host), host, id, got);
const at = (entries: readonly CpuidEntry[], leaf: number, index = 0) =>
  entries.find((entry) => entry.function === leaf && entry.index === index)!;

test('every vCPU has x2APIC, without which KVM_TDX_INIT_VCPU is EINVAL', () => {
  const noX2apic = spr.supportedCpuid.map((entry) => (entry.function === 1 ? { ...entry, ecx: 0 } : entry));
  const entries = entriesOf({}, 0, [], { ...spr, supportedCpuid: noX2apic });
  expect(at(entries, 1).ecx & (1 << 21)).not.toBe(0);
});

test('the GPAW of the vCPU is that of the TD, with leaf 0x80000000 there: another one kills the VM later', () => {
  for (const gpaw of [48, 52] as const) {
    const entries = entriesOf({ gpaw });
    expect((at(entries, 0x80000008).eax >>> 16) & 0xff).toBe(gpaw);
    expect(at(entries, 0x80000000).eax).toBeGreaterThanOrEqual(0x80000008);
  }
});

test('leaves that KVM does not report are made', () => {
  const entries = entriesOf({ gpaw: 52 }, 3, [], { ...spr, supportedCpuid: [] });
  expect(at(entries, 0x80000000).eax).toBe(0x80000008);
  expect(at(entries, 0x80000008).eax & 0xff).toBeGreaterThan(31);
  expect(at(entries, 1).ebx >>> 24).toBe(3);
});

test('the APIC id is the vCPU id, in leaves 1, 0xB and 0x1F', () => {
  const entries = entriesOf({ vcpus: 4 }, 3);
  expect(at(entries, 1).ebx >>> 24).toBe(3);
  for (const leaf of [0xb, 0x1f]) for (const index of [0, 1]) expect(at(entries, leaf, index).edx).toBe(3);
});

test('ids above 255 are whole in the x2APIC leaves', () => {
  expect(at(entriesOf({ vcpus: 300 }, 299), 0x1f, 0).edx).toBe(299);
});

test('leaf 0xB tells the same topology as leaf 0x1F', () => {
  const entries = entriesOf({ vcpus: 4 });
  expect(at(entries, 0xb, 0)).toMatchObject({ eax: 0, ebx: 1, ecx: 0x100 });
  expect(at(entries, 0xb, 1)).toMatchObject({ eax: 2, ebx: 4, ecx: 0x201 });
});

test('a configured topology is the one that KVM answers with', () => {
  const entries = entriesOf({
    cpuid: [
      { leaf: 0x1f, subleaf: 0, eax: 1, ebx: 2, ecx: 0x100 },
      { leaf: 0x1f, subleaf: 1, eax: 4, ebx: 16, ecx: 0x201 },
      { leaf: 0x1f, subleaf: 2, eax: 5, ebx: 32, ecx: 0x502 },
    ],
  });
  expect(at(entries, 0x1f, 2)).toMatchObject({ eax: 5, ebx: 32, ecx: 0x502 });
  expect(at(entries, 0xb, 1)).toMatchObject({ eax: 5, ebx: 32, ecx: 0x201 });
});

test('configured bits are in the vCPU, the rest is what KVM supports', () => {
  const entries = entriesOf({ features: { BMI2: false } });
  const native = at([...spr.supportedCpuid], 7);
  expect(at(entries, 7).ebx & (1 << 8)).toBe(0);
  expect(at(entries, 7).eax).toBe(native.eax);
  expect(at(entries, 1).eax).toBe(at([...spr.supportedCpuid], 1).eax);
});

test('paravirtual features that need guest memory are cut', () => {
  const kvm = { function: 0x40000001, index: 0, flags: 0, eax: 0x0100_7efb, ebx: 0, ecx: 0, edx: 0 };
  const entries = entriesOf({}, 0, [], { ...spr, supportedCpuid: [...spr.supportedCpuid, kvm] });
  expect(at(entries, 0x40000001).eax).toBe(0x3a82);
});

test('what the TD really got wins, but for leaf 0xD, where AMX needs a permission', () => {
  const got = (leaf: number, eax: number) => ({ function: leaf, index: 0, flags: 0, eax, ebx: 1, ecx: 2, edx: 3 });
  const entries = entriesOf({}, 0, [got(0x15, 77), got(0xd, 77)]);
  expect(at(entries, 0x15)).toMatchObject({ eax: 77, ebx: 1, ecx: 2, edx: 3 });
  expect(at(entries, 0xd).eax).toBe(at([...spr.supportedCpuid], 0xd).eax);
});
