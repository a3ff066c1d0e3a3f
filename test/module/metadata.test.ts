import { describe, expect, it } from 'vitest';
import { Host, TDH } from './host.js';

const FIELD = {
  OP_STATE: 0x9010_0002_0000_0004n,
  NUM_VCPUS: 0x9010_0002_0000_0001n,
  ATTRIBUTES: 0x1110_0003_0000_0000n,
  TSC_OFFSET: 0x1110_0003_0000_000an,
  TSC_MULTIPLIER: 0x1110_0003_0000_000bn,
  HP_LOCK_TIMEOUT: 0x9110_0003_0000_0011n,
  TD_CTLS: 0x1110_0003_0000_0017n,
  VIRT_MAXPA: 0x9110_0000_0000_0018n,
  TOPOLOGY_ENUM_CONFIGURED: 0x9110_0000_0000_0019n,
  X2APIC_IDS: 0x9c10_0002_0000_0000n,
  NUM_CPUID_VALUES: 0x9110_0001_0000_000en,
};
const ALL = (1n << 64n) - 1n;

/** As Linux builds it: element, sub-leaf, "no sub-leaf", leaf, bit 31 (tdx_read_cpuid). */
const cpuidField = (leaf: number, subleaf: number | null): bigint =>
  0x9410_0003_0000_0000n |
  (BigInt(leaf >>> 31) << 16n) |
  (BigInt(leaf & 0x7f) << 9n) |
  (subleaf === null ? 0x1fen : BigInt(subleaf) << 1n);

describe('TDH.MNG.RD', () => {
  const host = new Host();
  const tdr = host.td({ maxVcpus: 2 });
  const read = (rdx: bigint) => host.call(TDH.MNG_RD, { rcx: tdr, rdx });

  it('reads what KVM reads: TSC offset and multiplier', () => {
    expect(read(FIELD.TSC_OFFSET).status).toBe(0n);
    expect(read(FIELD.TSC_MULTIPLIER).r8).toBe(((40n * 25_000_000n) << 48n) / 2_000_000_000n);
  });

  it('reads the TD as it is built', () => {
    expect(read(FIELD.OP_STATE).r8).toBe(1n);
    expect(read(FIELD.NUM_VCPUS).r8).toBe(0n);
    expect(read(FIELD.TOPOLOGY_ENUM_CONFIGURED).r8).toBe(1n);
    host.vcpu(tdr);
    expect(read(FIELD.NUM_VCPUS).r8).toBe(1n);
    expect(read(FIELD.TOPOLOGY_ENUM_CONFIGURED).r8).toBe(0n);
    expect(read(FIELD.VIRT_MAXPA).r8).toBe(52n);
    expect(read(FIELD.NUM_CPUID_VALUES).r8).toBe(73n);
  });

  it('reads the x2APIC ids of VCPUs, in their order', () => {
    const other = new Host();
    const td = other.td({ maxVcpus: 2 });
    other.vcpu(td, 0n, 5n);
    other.vcpu(td, 0n, 7n);
    const ids = [0n, 1n, 2n].map((i) => other.call(TDH.MNG_RD, { rcx: td, rdx: FIELD.X2APIC_IDS + i }).r8);
    expect(ids).toEqual([5n, 7n, 0n]);
  });

  it('shows the VMX capabilities of a TD for debugging', () => {
    const VIRTUAL_IA32_VMX_MISC = 0x9610_0003_0000_0485n;
    expect(read(VIRTUAL_IA32_VMX_MISC).rule).toBe('module.metadata.readable');
    const other = new Host();
    const td = other.td({ attributes: 1 });
    expect(other.call(TDH.MNG_RD, { rcx: td, rdx: VIRTUAL_IA32_VMX_MISC }).r8).toBe(0x6004_40e0n);
  });

  it('knows the fields of its module only', () => {
    const old = new Host('1.5.01');
    const td = old.td();
    for (const rdx of [FIELD.VIRT_MAXPA, FIELD.TOPOLOGY_ENUM_CONFIGURED, FIELD.X2APIC_IDS])
      expect(old.call(TDH.MNG_RD, { rcx: td, rdx })).toMatchObject({ r8: 0n, rule: 'module.metadata.id' });
  });

  it('reads CPUID values in halves, by leaf and sub-leaf', () => {
    const row = host.module.tds.get(Number(tdr))!.configuration!.cpuid.find((r) => r.leaf === 0x8000_0008)!;
    const field = cpuidField(0x8000_0008, null);
    expect(read(field).r8).toBe(BigInt(row.eax) | (BigInt(row.ebx) << 32n));
    expect(read(field | 1n).r8).toBe(BigInt(row.ecx) | (BigInt(row.edx) << 32n));
  });

  it.each([
    ['a leaf without sub-leaves, asked with one', cpuidField(1, 0), 0n],
    ['an indexed leaf, asked without sub-leaf', cpuidField(7, null), 0xc000_0c00_0000_0000n],
    ['a leaf that gives the guest a #VE', cpuidField(6, null), 0xc000_0c02_0000_0000n],
    ['a leaf that the module does not have', cpuidField(9, null), 0xc000_0c00_0000_0000n],
    ['a field that guests write', FIELD.TD_CTLS, 0xc000_0c02_0000_0000n],
    ['a sequence of fields', FIELD.ATTRIBUTES | (1n << 38n), 0xc000_0c00_0000_0000n],
  ])('%s', (_, field, status) => {
    expect(read(field).status).toBe(status);
  });

  it('HP_LOCK_TIMEOUT is written in microseconds, whole, between 10 ms and 100 s', () => {
    const write = (r8: bigint, r9 = ALL) => host.call(TDH.MNG_WR, { rcx: tdr, rdx: FIELD.HP_LOCK_TIMEOUT, r8, r9 });
    expect(write(20_000n)).toMatchObject({ status: 0n, r8: 1_000_000n });
    expect(read(FIELD.HP_LOCK_TIMEOUT).r8).toBe(20_000n);
    expect(write(9_999n)).toMatchObject({ rule: 'module.metadata.value' });
    expect(write(100_000_001n)).toMatchObject({ rule: 'module.metadata.value' });
    expect(write(20_000n, 0xffff_ffffn)).toMatchObject({ rule: 'module.metadata.mask' });
    const attributes = host.call(TDH.MNG_WR, { rcx: tdr, rdx: FIELD.ATTRIBUTES, r8: 1n, r9: ALL });
    expect(attributes).toMatchObject({ rule: 'module.metadata.writable' });
  });
});

describe('TDH.VP.WR', () => {
  // Linux leaves context and element size out of these ids.
  const POSTED_INTR_NV = 0x0002n;
  const POSTED_INTR_DESC = 0x2016n;
  const SHARED_EPT_POINTER = 0x203cn;
  const PIN_BASED = 0x4000n;
  const PEND_NMI = (0x20n << 56n) | 0xbn;

  it('takes what KVM writes: posted interrupts in order, the shared EPT, a pending NMI', () => {
    const host = new Host();
    const tdvpr = host.vcpu(host.td());
    const write = (rdx: bigint, r8: bigint, r9: bigint) => host.call(TDH.VP_WR, { rcx: tdvpr, rdx, r8, r9 });
    expect(write(PIN_BASED, 0x80n, 0x80n)).toMatchObject({ status: 0xc000_0730_0000_0002n });
    expect(write(POSTED_INTR_NV, 0xf2n, 0xffffn).status).toBe(0n);
    expect(write(PIN_BASED, 0x80n, 0x80n)).toMatchObject({ status: 0xc000_0730_0000_2016n });
    expect(write(POSTED_INTR_NV, 0x100n, 0xffffn)).toMatchObject({ rule: 'module.metadata.value' });
    expect(write(POSTED_INTR_DESC, 0x123440n, ALL).status).toBe(0n);
    expect(write(POSTED_INTR_DESC, 0x123441n, ALL)).toMatchObject({ rule: 'module.metadata.value' });
    expect(write(PIN_BASED, 0x80n, 0x80n).status).toBe(0n);
    expect(write(SHARED_EPT_POINTER, 0x5000n, ALL).status).toBe(0n);
    expect(write(SHARED_EPT_POINTER, 33n << 46n, ALL)).toMatchObject({ rule: 'module.metadata.value' });
    expect(write(PEND_NMI, 1n, 0xffn).status).toBe(0n);
    expect(write(PEND_NMI, 0x101n, ALL)).toMatchObject({ rule: 'module.metadata.value' });
    expect(host.must(TDH.VP_RD, { rcx: tdvpr, rdx: PEND_NMI }).r8).toBe(1n);
    expect(host.must(TDH.VP_RD, { rcx: tdvpr, rdx: SHARED_EPT_POINTER }).r8).toBe(0x5000n);
    expect(write(0x681en, 1n, ALL)).toMatchObject({ rule: 'module.metadata.writable' });
  });
});
