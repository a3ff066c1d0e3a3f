import { beforeEach, describe, expect, it } from 'vitest';
import type { VcpuExit } from '../../src/kvm/index.js';
import { Milestones } from '../../src/launch/platform/index.js';

const [MIB_2, KIB_4] = [1n, 0n];
const tdcall = (leaf: number, rcx = 0n, rdx = 0n, rax = 0n) => {
  const before = new BigUint64Array(16);
  before.set([BigInt(leaf), rcx, rdx]);
  return { kind: 'tdcall' as const, leaf, before, after: new BigUint64Array([rax, ...before.subarray(1)]) };
};
const readPort: VcpuExit = { reason: 'io', direction: 'in', size: 4, port: 0xcf8, count: 1, data: new Uint8Array() };
const readAt = (gpa: bigint): VcpuExit => ({ reason: 'mmio', gpa, isWrite: false, data: new Uint8Array(4) });
const mapGpa = (gpa: bigint): VcpuExit => ({ reason: 'hypercall', nr: 12n, args: [gpa, 512n, 0n], flags: 0n });

describe('the milestones of a firmware', () => {
  let now: number;
  let milestones: Milestones;
  beforeEach(() => {
    now = 1000;
    milestones = new Milestones(() => now);
  });
  const names = () => milestones.list.filter(({ reached }) => reached).map(({ name }) => name);

  it('none is reached at the start', () => {
    expect(names()).toEqual([]);
    expect(milestones.last).toBeUndefined();
    expect(milestones.list).toHaveLength(6);
  });

  it('memory is accepted when the host is asked for something else, in what time and by how many TDCALLs', () => {
    milestones.guest(tdcall(1));
    for (const page of [0n, 0x20_0000n]) milestones.guest(tdcall(6, page | MIB_2));
    milestones.guest(tdcall(6, 0x40_0000n | MIB_2, 0n, 0xc000_0b0b_0000_0000n));
    milestones.guest(tdcall(6, 0x40_0000n | KIB_4));
    expect(names()).toEqual([]);
    now = 1250;
    milestones.guest(tdcall(0));
    const by = 'the first request to the host, 4100 KiB accepted';
    expect(milestones.last).toMatchObject({
      name: 'memory-accepted',
      reached: { atMs: 250, tdcalls: 6, exits: 0, by },
    });
  });

  it('a request to the host before any memory is accepted is no sign', () => {
    milestones.guest(tdcall(0));
    expect(names()).toEqual([]);
  });

  it('without a trace, the first port tells as much', () => {
    milestones.exit(readPort);
    expect(milestones.last?.reached).toEqual({ atMs: 0, exits: 1, tdcalls: 0, by: 'the first request to the host' });
  });

  it('lists what was extended into RTMRs, and not what was refused', () => {
    milestones.guest(tdcall(2, 0x1000n, 0n, 0xc000_0100_0000_0002n));
    milestones.guest(tdcall(2, 0x2000n, 1n));
    milestones.guest(tdcall(2, 0x3000n, 0n));
    expect(milestones.rtmrExtends).toEqual([
      { index: 1, gpa: 0x2000n },
      { index: 0, gpa: 0x3000n },
    ]);
    expect(milestones.last).toMatchObject({ name: 'rtmr-extended', reached: { by: 'TDG.MR.RTMR.EXTEND of RTMR 1' } });
  });

  it('PEI is done with the first access to ECAM; the TPM that PEI looks for is not in its range', () => {
    milestones.exit(readAt(0xfed4_0000n));
    expect(names()).toEqual(['memory-accepted']);
    milestones.exit(readAt(0xb00f_8040n));
    expect(names()).toEqual(['memory-accepted', 'pei-done']);
  });

  it('DXE is dispatched when TdxDxe makes MMIO shared', () => {
    milestones.exit(mapGpa(0xc000_0000n));
    expect(milestones.last).toMatchObject({ name: 'dxe-dispatched', reached: { by: 'MapGPA of 0xc0000000' } });
  });

  it('blanks are no text; a boot manager is seen across pieces', () => {
    milestones.text('\r\n  ');
    expect(names()).toEqual([]);
    milestones.text('UEFI Inter');
    expect(names()).toEqual(['serial-text']);
    milestones.text('active Shell v2.2\r\n');
    expect(milestones.last).toMatchObject({
      name: 'boot-manager',
      reached: { by: '"UEFI Interactive Shell" on the console' },
    });
  });

  it('keeps the time of the first sign', () => {
    milestones.exit(mapGpa(0xc000_0000n));
    now = 5000;
    milestones.exit(mapGpa(0xc020_0000n));
    expect(milestones.last?.reached).toMatchObject({ atMs: 0, exits: 1 });
  });

  it('tells each when it is reached, once', () => {
    const told: string[] = [];
    milestones = new Milestones(
      () => now,
      ({ name, what, reached }) => told.push(`${name}: ${what}, after ${reached.exits} exits`),
    );
    for (const exit of [readPort, readPort, mapGpa(0xc000_0000n)]) milestones.exit(exit);
    expect(told).toEqual([
      'memory-accepted: The TD HOB and the memory in it are accepted, after 1 exits',
      'dxe-dispatched: The DXE dispatcher runs drivers, after 3 exits',
    ]);
  });

  it('the next one is behind the last, and not the one that many builds leave out', () => {
    expect(milestones.next?.name).toBe('memory-accepted');
    milestones.exit(readPort);
    expect(milestones.next?.name).toBe('pei-done');
    milestones.exit(mapGpa(0xc000_0000n));
    expect(milestones.next?.name).toBe('serial-text');
  });
});
