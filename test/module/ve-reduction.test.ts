import { describe, expect, it } from 'vitest';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { cpuid } from '../../src/mock/module/cpuid.js';
import type { GuestCall } from '../../src/mock/module/guest-call.js';
import { tdgVmWr } from '../../src/mock/module/tdg-vm-wr.js';
import { type CpuidWish, guest } from './guest-vcpu.js';
import { Host, TDH } from './host.js';

// Read in the source of 1.5.25 (td_cpuid.c, metadata_td.c, helpers.c update_mutable_cpuid_flags) by hand; not computed by it.
const version = '1.5.25';

const TD_CTLS = 0x1110_0003_0000_0017n;
const FEATURE_PARAVIRT_CTLS = 0x1110_0003_0000_0022n;
const ENUM_TOPOLOGY = 2n;
const VIRT_CPUID2 = 4n;
const REDUCE_VE = 8n;
const LOCK = 1n << 63n;
const PARAVIRT = { CORE_CAPABILITIES: 1n, DCA: 2n, EST: 4n, MCA: 8n, MTRR: 16n, PCONFIG: 32n, RDT_A: 64n, RDT_M: 128n };
const MORE = { ACPI: 256n, TM2: 512n, TME: 1024n, TSC_DEADLINE: 2048n };

/** Everything that a host can allow in leaves 1 and 7.0. */
const ALL: readonly CpuidWish[] = [
  [1, null, 2, 0x31044d88],
  [1, null, 3, 0xb8445080],
  [7, 0, 1, 0xdc2b9308],
  [7, 0, 2, 0x2417f65],
  [7, 0, 3, 0x4005411c],
];

const write = (call: GuestCall, rdx: bigint, r8: bigint, r9 = r8) => {
  const { status, rule } = tdgVmWr(call, { rdx, r8, r9 });
  return rule ?? decodeTdxStatus(status).name;
};

const ve = 'VE';
const read = (call: GuestCall, leaf: number, subleaf = 0): string | number[] => {
  const answer = cpuid(call, { cr4: 0n, longMode: true }, leaf, subleaf);
  return 'vector' in answer ? ve : [...answer];
};
const zeros = [0, 0, 0, 0];

function reduced(options: Parameters<typeof guest>[0] = {}): GuestCall {
  const call = guest({ version, ...options });
  expect(write(call, TD_CTLS, REDUCE_VE)).toBe('TDX_SUCCESS');
  return call;
}

describe('a guest that does not reduce #VEs', () => {
  const call = guest({ version, cpuid: ALL });

  it.each([
    2, 6, 9, 0xb, 0xc, 0xf, 0x10, 0x16, 0x17, 0x1b, 0x1f, 0x4000_0000, 0x8000_0002, 0x8000_0003, 0x8000_0004,
    0x8000_0005,
  ])('gets one at leaf 0x%x', (leaf) => expect(read(call, leaf)).toBe(ve));

  it.each([3, 8, 0xe, 0x11, 0x12, 0x13, 0x20, 0x22])('gets zeros at leaf 0x%x', (leaf) =>
    expect(read(call, leaf)).toEqual(zeros),
  );

  it('gets values where older modules gave one', () => {
    expect(read(call, 0x8000_0006)).toEqual([0, 0, expect.any(Number), 0]);
    expect((read(call, 0x8000_0006)[2] as number) & 0xffff).toBe(0x7040);
    expect(read(call, 0x18, 8)).toEqual(zeros);
    expect(read(call, 0x18, 9)).toBe(ve);
  });

  it('sees machine checks, MTRRs and CORE_CAPABILITIES although the host did not allow them', () => {
    const plain = guest({ version });
    expect((read(plain, 1)[3] as number) & 0x5080).toBe(0x5080);
    expect((read(plain, 7)[3] as number) & 0x4000_0000).toBe(0x4000_0000);
  });
});

describe('a guest that reduces #VEs', () => {
  it('sets ENUM_TOPOLOGY and VIRT_CPUID2 with it', () => {
    expect(reduced().vcpu.td.tdCtls).toBe(REDUCE_VE | ENUM_TOPOLOGY | VIRT_CPUID2);
  });

  it('can only if every VCPU was given an x2APIC id', () => {
    const call = guest({ version });
    call.vcpu.td.topologyEnumConfigured = false;
    expect(write(call, TD_CTLS, REDUCE_VE)).toBe('module.vm-wr.enum-topology');
    expect(write(call, TD_CTLS, VIRT_CPUID2)).toBe('TDX_SUCCESS');
  });

  it('gets values in place of #VEs, but for the leaves of hypervisors', () => {
    const call = reduced();
    for (const leaf of [9, 0xc, 0xf, 0x10, 0x16, 0x17, 0x1b, 0x8000_0003, 0x8000_0004, 0x8000_0005])
      expect([leaf, read(call, leaf)]).toEqual([leaf, zeros]);
    expect(read(call, 2)).toEqual([0xfeff01, 0, 0, 0]);
    expect(read(call, 6)).toEqual([4, 0, 0, 0]);
    // "Inte", "TD X", "   l": Intel's table, in whose order the parts do not make up the name.
    expect(read(call, 0x8000_0002)).toEqual([0x65746e49, 0x58204454, 0x6c202020, 0]);
    expect(read(call, 0x4000_0000)).toBe(ve);
    expect(read(call, 0x4fff_ffff)).toBe(ve);
  });

  it('gets zeros for sub-leaves that no table has, but for those of the topology', () => {
    const call = reduced();
    call.vcpu.x2apicId = 77;
    for (const [leaf, subleaf] of [
      [4, 5],
      [7, 3],
      [0xd, 19],
      [0x14, 2],
      [0x18, 9],
      [0x23, 4],
    ] as const)
      expect([leaf, read(call, leaf, subleaf)]).toEqual([leaf, zeros]);
    expect(read(call, 0x1f, 6)).toEqual([0, 0, 6, 77]);
    expect(read(call, 0xb, 0x103)).toEqual([0, 0, 3, 77]);
    expect(read(call, 0xb, 2)).toEqual([0, 0, 2, 77]);
  });

  it('gets the caches of the processor, shared as the host configured', () => {
    const shared = 0x1234_4000;
    const call = reduced({ cpuid: [[4, 3, 0, shared]] });
    // Natively 7c1fc163: of EAX bits 9:0, and bits 31:14 as configured.
    expect(read(call, 4, 3)).toEqual([shared | 0x163, 0x380003f, 0x1bfff, 4]);
    expect(read(guest({ version, cpuid: [[4, 3, 0, shared]] }), 4, 3)).toEqual([shared, 0x3f, 0, 0]);
  });

  it('takes features back with FEATURE_PARAVIRT_CTLS, as far as the host allows them', () => {
    const call = reduced({ cpuid: ALL });
    const before = guest({ version, cpuid: ALL });
    const bits = (from: GuestCall) => ({
      ecx1: (read(from, 1)[2] as number) & 0x1040180,
      edx1: (read(from, 1)[3] as number) & 0x405080,
      ebx7: (read(from, 7)[1] as number) & 0x9000,
      ecx7: (read(from, 7)[2] as number) & 0x2000,
      edx7: (read(from, 7)[3] as number) & 0x4004_0000,
    });
    expect(bits(call)).toEqual({ ecx1: 0, edx1: 0, ebx7: 0, ecx7: 0, edx7: 0 });
    const all = Object.values({ ...PARAVIRT, ...MORE }).reduce((a, b) => a | b, 0n);
    expect(all).toBe(0xfffn);
    expect(write(call, FEATURE_PARAVIRT_CTLS, all)).toBe('TDX_SUCCESS');
    expect(bits(call)).toEqual(bits(before));
    expect(bits(before)).toEqual({ ecx1: 0x1040180, edx1: 0x405080, ebx7: 0x9000, ecx7: 0x2000, edx7: 0x4004_0000 });

    const denied = reduced();
    write(denied, FEATURE_PARAVIRT_CTLS, all);
    expect(bits(denied)).toEqual({ ecx1: 0, edx1: 0, ebx7: 0, ecx7: 0, edx7: 0 });
  });

  it.each([
    ['DCA', PARAVIRT.DCA, 9],
    ['RDT-M', PARAVIRT.RDT_M, 0xf],
    ['RDT-A', PARAVIRT.RDT_A, 0x10],
    ['PCONFIG', PARAVIRT.PCONFIG, 0x1b],
  ])('that takes %s back gets the #VE of its leaf back', (_, control, leaf) => {
    const call = reduced({ cpuid: ALL });
    expect(read(call, leaf)).toEqual(zeros);
    write(call, FEATURE_PARAVIRT_CTLS, control);
    expect(read(call, leaf)).toBe(ve);
  });

  it('makes up its mind once with LOCK', () => {
    const call = reduced();
    expect(write(call, TD_CTLS, LOCK)).toBe('TDX_SUCCESS');
    const locked = call.vcpu.td.tdCtls;
    expect(locked).toBe(LOCK | REDUCE_VE | ENUM_TOPOLOGY | VIRT_CPUID2);
    expect(write(call, TD_CTLS, 0n, REDUCE_VE)).toBe('module.vm-wr.locked');
    expect(write(call, TD_CTLS, 0n, LOCK)).toBe('module.vm-wr.locked');
    expect(write(call, FEATURE_PARAVIRT_CTLS, 1n)).toBe('module.vm-wr.locked');
    expect(write(call, TD_CTLS, locked)).toBe('TDX_SUCCESS');
    expect(write(call, FEATURE_PARAVIRT_CTLS, 0n, 1n)).toBe('TDX_SUCCESS');
    expect(call.vcpu.td.tdCtls).toBe(locked);
  });

  it('writes no control that does not exist', () => {
    expect(write(guest({ version }), TD_CTLS, 16n)).toBe('module.vm-wr.writable');
    expect(write(guest({ version }), FEATURE_PARAVIRT_CTLS, 0x1000n)).toBe('module.vm-wr.writable');
    expect(write(guest(), FEATURE_PARAVIRT_CTLS, 1n)).toBe('module.vm-wr.field-id');
  });
});

describe('what a host of the newest module reads', () => {
  const field = (leaf: number, subleaf: number | null): bigint =>
    0x9410_0003_0000_0000n |
    (BigInt(leaf >>> 31) << 16n) |
    (BigInt(leaf & 0x7f) << 9n) |
    (subleaf === null ? 0x1fen : BigInt(subleaf) << 1n);
  const reads = (of: string, leaf: number, subleaf: number | null = null) => {
    const host = new Host(of);
    const { status, r8 } = host.call(TDH.MNG_RD, { rcx: host.td(), rdx: field(leaf, subleaf) });
    return status === 0n ? r8 : decodeTdxStatus(status).name;
  };

  it('are zeros for leaves without an entry that are always zero', () => {
    for (const leaf of [9, 0xc, 0xf, 0x10, 0x16, 0x17, 0x1b, 0x8000_0003])
      expect([leaf, reads(version, leaf)]).toEqual([leaf, 0n]);
    expect(reads('1.5.06', 9)).toBe('TDX_METADATA_FIELD_ID_INCORRECT');
  });

  it('is nothing for other leaves without an entry', () => {
    expect(reads(version, 0x18, 9)).toBe('TDX_METADATA_FIELD_NOT_READABLE');
    expect(reads(version, 4)).toBe('TDX_METADATA_FIELD_NOT_READABLE');
  });

  it('are the values of leaves whose #VE depends on the guest', () => {
    expect(reads(version, 6)).toBe(4n);
    expect(reads('1.5.06', 6)).toBe('TDX_METADATA_FIELD_NOT_READABLE');
  });

  it('is CPUID_FIXED0_BITMAP', () => {
    const host = new Host(version);
    const { r8 } = host.call(TDH.MNG_RD, { rcx: host.td(), rdx: 0x9110_0003_0000_0021n });
    expect(r8).toBe(0x0380_0005_08cf_d308n);
  });
});

describe('a VCPU refused for its x2APIC id', () => {
  const NUM_VCPUS = 0x9010_0002_0000_0001n;
  it.each([
    ['1.5.05', 2n],
    ['1.5.06', 2n],
    [version, 1n],
  ])('counts with module %s: NUM_VCPUS %i', (of, count) => {
    const host = new Host(of);
    const tdr = host.td({ maxVcpus: 3 });
    const init = () => {
      const rcx = host.fresh();
      host.must(TDH.VP_CREATE, { rcx, rdx: tdr });
      for (let i = 0; i < 5; i++) host.must(TDH.VP_ADDCX, { rcx: host.fresh(), rdx: rcx });
      return host.status(TDH.VP_INIT, { version: 1, rcx, r8: 5n });
    };
    expect(init()).toBe('TDX_SUCCESS');
    expect(init()).toContain('TDX_X2APIC_ID_NOT_UNIQUE');
    expect(host.call(TDH.MNG_RD, { rcx: tdr, rdx: NUM_VCPUS }).r8).toBe(count);
  });
});
