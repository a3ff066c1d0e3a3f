import { describe, expect, it } from 'vitest';
import { factsOf } from '../../src/mock/module/facts-of.js';
import { msrAction } from '../../src/mock/module/guest-msr.js';
import { virtualVmxMsr } from '../../src/mock/module/virtual-vmx.js';
import { type CpuidWish, guest } from './guest-vcpu.js';

const MSR = {
  BASIC: 0x480,
  MISC: 0x485,
  CR0_FIXED0: 0x486,
  CR0_FIXED1: 0x487,
  CR4_FIXED0: 0x488,
  CR4_FIXED1: 0x489,
  PROCBASED_CTLS2: 0x48b,
  EPT_VPID_CAP: 0x48c,
  TRUE_PROCBASED_CTLS: 0x48e,
  TRUE_EXIT_CTLS: 0x48f,
  TRUE_ENTRY_CTLS: 0x490,
  VMFUNC: 0x491,
  PROCBASED_CTLS3: 0x492,
} as const;

const bit = (position: number): bigint => 1n << BigInt(position);
const PERFMON = bit(63);
const PKS = bit(30);
const DEBUG = 1n;

interface Options {
  version?: string;
  xfam?: bigint;
  attributes?: bigint;
  cpuid?: readonly CpuidWish[];
}

function read(index: number, { attributes = 0n, version = '1.5.06', ...options }: Options = {}): bigint {
  const { module, vcpu } = guest({ version, ...options });
  vcpu.td.configuration = { ...vcpu.td.configuration!, attributes };
  return virtualVmxMsr(module, vcpu.td, index, version !== '1.5.01');
}

/** Bits that a guest may set, and bits that it may clear. */
const mayBeOne = (index: number, options?: Options): bigint => read(index, options) >> 32n;
const mayBeZero = (index: number, options?: Options): bigint => ~read(index, options) & 0xffff_ffffn;

describe('IA32_VMX_* in a TD', () => {
  it.each([
    ['BASIC: the TRUE MSRs exist', MSR.BASIC, 0x01c0_0000_0000_0000n],
    ['MISC: HLT and shutdown states, 4 CR3 targets', MSR.MISC, 0x6004_40e0n],
    ['CR0_FIXED0: NE', MSR.CR0_FIXED0, 0x20n],
    ['CR0_FIXED1', MSR.CR0_FIXED1, 0x8005_003fn],
    ['CR4_FIXED0: MCE and VMXE', MSR.CR4_FIXED0, 0x2040n],
    ['VMFUNC: none', MSR.VMFUNC, 0n],
  ])('%s, with and without L2 VMs', (_, index, value) => {
    expect(read(index)).toBe(value);
  });

  it('CR4 has what XFAM and ATTRIBUTES have', () => {
    const [PKE, CET, PKS_BIT] = [bit(22), bit(23), bit(24)];
    expect(read(MSR.CR4_FIXED1, { xfam: 3n }) & (PKE | CET | PKS_BIT)).toBe(0n);
    const xfam = 3n | bit(9) | bit(11) | bit(12);
    expect(read(MSR.CR4_FIXED1, { xfam, attributes: PKS }) & (PKE | CET | PKS_BIT)).toBe(PKE | CET | PKS_BIT);
  });

  it('MONITOR and MWAIT exit where CPUID does not have them, RDPMC without PERFMON', () => {
    const MONITORS = bit(10) | bit(29);
    const RDPMC = bit(11);
    const index = MSR.TRUE_PROCBASED_CTLS;
    expect(read(index) & (MONITORS | RDPMC)).toBe(MONITORS | RDPMC);
    const cpuid = [[1, null, 2, 8]] as const;
    expect(mayBeOne(index, { cpuid }) & MONITORS).toBe(0n);
    expect([
      mayBeOne(index, { attributes: PERFMON }) & RDPMC,
      mayBeZero(index, { attributes: PERFMON }) & RDPMC,
    ]).toEqual([RDPMC, RDPMC]);
  });

  it('WAITPKG can be had by L2 VMs where the TD has it', () => {
    const USER_WAIT = bit(26);
    const cpuid = [[7, 0, 2, 1 << 5]] as const;
    expect(mayBeOne(MSR.PROCBASED_CTLS2) & USER_WAIT).toBe(0n);
    expect(mayBeOne(MSR.PROCBASED_CTLS2, { cpuid }) & USER_WAIT).toBe(USER_WAIT);
  });

  it.each([
    ['a TD', 0n, 0n, 0n],
    ['a TD with PERFMON', PERFMON, bit(12) | bit(30), bit(13)],
    ['a TD with PKS', PKS, 0n, bit(22)],
    ['a TD for debugging', DEBUG, bit(12) | bit(30), bit(13) | bit(22)],
  ])('%s switches the MSRs that it has at exits and entries', (_, attributes, exit, entry) => {
    expect(read(MSR.TRUE_EXIT_CTLS, { attributes }) & (bit(12) | bit(30))).toBe(exit);
    expect(read(MSR.TRUE_ENTRY_CTLS, { attributes }) & (bit(13) | bit(22))).toBe(entry);
  });

  it('shadow stacks come with XFAM.CET_S', () => {
    expect(read(MSR.EPT_VPID_CAP, { xfam: 3n }) & bit(23)).toBe(0n);
    expect(read(MSR.EPT_VPID_CAP) & bit(23)).toBe(bit(23));
  });

  it('1.5.01 always virtualises IA32_SPEC_CTRL', () => {
    expect(read(MSR.PROCBASED_CTLS3)).toBe(0xen);
    expect(read(MSR.PROCBASED_CTLS3, { version: '1.5.01' })).toBe(0x8en);
  });
});

describe('IA32_PERF_METRICS', () => {
  it.each([
    ['a TD with PERFMON on a platform that has it', PERFMON, true, 'native'],
    ['a TD with PERFMON on another', PERFMON, false, 'gp'],
    ['a TD without PERFMON', 0n, true, 'gp'],
  ])('of %s', (_, attributes, perfMetrics, action) => {
    const { module, vcpu } = guest();
    vcpu.td.configuration = { ...vcpu.td.configuration!, attributes };
    const { features } = factsOf(module);
    expect(msrAction(vcpu.td, 0x329, false, { features, perfMetrics })).toBe(action);
  });
});
