import { describe, expect, it } from 'vitest';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { cpuid } from '../../src/mock/module/cpuid.js';
import type { GuestCall } from '../../src/mock/module/guest-call.js';
import { tdgVmWr } from '../../src/mock/module/tdg-vm-wr.js';
import { wrmsrXss } from '../../src/mock/module/wrmsr.js';
import { xsetbv } from '../../src/mock/module/xsetbv.js';
import { AMX, AVX512, CET, guest } from './guest-vcpu.js';

describe('XSETBV', () => {
  it.each([
    ['takes what XFAM has', 0x7n | AVX512 | AMX, undefined],
    ['needs the x87 bit', 0x6n, 'module.xsetbv.combination'],
    ['needs SSE for AVX', 0x5n, 'module.xsetbv.combination'],
    ['needs AVX for AVX-512', 0x3n | AVX512, 'module.xsetbv.combination'],
    ['needs all bits of AVX-512', 0x27n, 'module.xsetbv.combination'],
    ['needs both bits of AMX', 0x20007n, 'module.xsetbv.combination'],
    ['does not take what XFAM lacks', 0x207n, 'module.xsetbv.xfam'],
    ['does not take supervisor features', 0x7n | CET, 'module.xsetbv.xfam'],
    ['does not take bits of the upper half', (1n << 62n) | 7n, 'module.xsetbv.xfam'],
  ])('%s', (_, value, rule) => {
    const call = guest();
    expect(xsetbv(call, 0, value)).toEqual(rule && { vector: 13, rule });
    expect(call.vcpu.xcr0).toBe(rule ? 1n : value);
  });

  it('writes XCR0 only', () => {
    expect(xsetbv(guest(), 1, 7n)).toEqual({ vector: 13, rule: 'module.xsetbv.index' });
  });
});

describe('WRMSR of IA32_XSS', () => {
  it.each([
    ['takes what XFAM has', CET, undefined],
    ['does not take what XFAM lacks', 0x100n, 'module.wrmsr.xss'],
    ['does not take user features', 0x4n, 'module.wrmsr.xss'],
  ])('%s', (_, value, rule) => {
    const call = guest();
    expect(wrmsrXss(call, value)).toEqual(rule && { vector: 13, rule });
    expect(call.vcpu.xss).toBe(rule ? 0n : value);
  });
});

describe('CPUID', () => {
  const processor = { cr4: 0n, longMode: true };

  it('gives the size of the XSAVE area for what the guest switched on', () => {
    const call = guest();
    const size = (): unknown => cpuid(call, processor, 0xd, 0);
    expect(size()).toMatchObject({ 1: 576 });
    xsetbv(call, 0, 7n);
    expect(size()).toMatchObject({ 1: 832 });
  });

  it('gives a #VE where the module has no value', () => {
    expect(cpuid(guest(), processor, 0x4000_0000, 0)).toEqual({ vector: 20, rule: 'module.cpuid.ve' });
    expect(cpuid(guest(), processor, 0x1f, 0)).toEqual({ vector: 20, rule: 'module.cpuid.ve' });
  });
});

describe('TDG.VM.WR', () => {
  const TD_CTLS = 0x1110_0003_0000_0017n;
  const write = (call: GuestCall, r8: bigint, r9 = r8, rdx = TD_CTLS, rcx = 0n) => {
    const { status, rule, r8: before } = tdgVmWr(call, { rcx, rdx, r8, r9 });
    return { name: decodeTdxStatus(status).name, ...(rule && { rule }), before, tdCtls: call.vcpu.td.tdCtls };
  };

  it('writes the bits of TD_CTLS under the mask, and gives the value before', () => {
    const call = guest();
    expect(write(call, 6n)).toEqual({ name: 'TDX_SUCCESS', before: 0n, tdCtls: 6n });
    expect(write(call, 0n, 2n)).toEqual({ name: 'TDX_SUCCESS', before: 6n, tdCtls: 4n });
    expect(cpuid(call, { cr4: 0n, longMode: true }, 2, 0)).toEqual([0xfeff01, 0, 0, 0]);
  });

  it('knows the bits of its version', () => {
    expect(write(guest({ version: '1.5.05' }), 4n).rule).toBe('module.vm-wr.writable');
    expect(write(guest({ version: '1.5.01' }), 2n).rule).toBe('module.vm-wr.writable');
    expect(write(guest(), 0n).rule).toBe('module.vm-wr.writable');
    expect(write(guest(), 0xcn).rule).toBe('module.vm-wr.forbidden-bits');
  });

  it('changes PENDING_VE_DISABLE only with FLEXIBLE_PENDING_VE', () => {
    expect(write(guest(), 1n).rule).toBe('module.vm-wr.pending-ve-disable');
    expect(write(guest(), 0n, 1n).name).toBe('TDX_SUCCESS');
    expect(write(guest({ configFlags: 2 }), 1n).tdCtls).toBe(1n);
  });

  it('sets ENUM_TOPOLOGY only where every VCPU was given an x2APIC id', () => {
    const call = guest();
    call.vcpu.td.topologyEnumConfigured = false;
    expect(write(call, 2n).rule).toBe('module.vm-wr.enum-topology');
    expect(write(call, 6n)).toMatchObject({ rule: 'module.vm-wr.enum-topology', tdCtls: 0n });
    expect(write(call, 4n).tdCtls).toBe(4n);
  });

  it('refuses other VMs, other fields and what is no field', () => {
    expect(write(guest(), 4n, 4n, TD_CTLS, 1n).rule).toBe('module.vm-wr.vm');
    expect(write(guest(), 4n, 4n, 0x1110_0003_0000_0000n).rule).toBe('module.vm-wr.writable');
    expect(write(guest(), 4n, 4n, 0x1110_0003_0000_0fffn).rule).toBe('module.vm-wr.field-id');
    expect(write(guest(), 4n, 4n, TD_CTLS | (1n << 62n)).rule).toBe('module.vm-wr.field-id');
  });
});
