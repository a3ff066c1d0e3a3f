import { describe, expect, it } from 'vitest';
import { type GuestState, guestCpuid, loadRules } from '../../src/cpuid/index.js';
import { bootModule } from '../../src/mock/module/boot.js';
import { findVirtualCpuid, initTd, type TdConfiguration } from '../../src/mock/module/mng-init.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { readCases } from '../vectors/read.js';

const hex = (n: number, digits = 0): string => n.toString(16).padStart(digits, '0');
const values = (list: Iterable<number>): string => Array.from(list, (v) => hex(v, 8)).join(',');

/** What KVM_TDX_GET_CPUID reads: SUBLEAF_NA first, then sub-leaves until one cannot be read. */
function hostView(td: TdConfiguration): string[] {
  const rows: string[] = [];
  const read = (leaf: number, subleaf: number | null): boolean => {
    const found = findVirtualCpuid(td, leaf, subleaf);
    if (!found?.valid) return false;
    const guestPa = leaf === 0x8000_0008 ? (td.gpaw ? 52 : 48) << 16 : 0;
    const eax = guestPa ? (found.eax & ~0xff_0000) | guestPa : found.eax;
    rows.push(
      `${hex(leaf)}:${subleaf === null ? '-' : hex(subleaf)}:${values([eax >>> 0, found.ebx, found.ecx, found.edx])}`,
    );
    return true;
  };
  for (const first of [0, 0x8000_0000]) {
    const level = findVirtualCpuid(td, first, null)!.eax;
    for (let leaf = first; leaf <= level; leaf++) {
      if (!read(leaf, null)) for (let subleaf = 0; read(leaf, subleaf); subleaf++);
    }
  }
  return rows;
}

describe.each(['1.5.01', '1.5.05', '1.5.06'])("CPUID of TDs on module %s is that of Intel's module", (version) => {
  const cases = readCases(`guest_cpuid-${version}.jsonl.gz`).map((testCase) => {
    const boot = bootModule(loadRules(version), loadPlatform(testCase.profile));
    if (!boot.ok) throw new Error(boot.rule);
    const params = new Uint8Array(1024);
    params.set(Buffer.from(testCase.td_params, 'hex'));
    const { status, td } = initTd(boot.module, params, testCase.tdcx_pages);
    expect(status).toBe(BigInt(testCase.expect.status));
    return { testCase, td: td!, module: boot.module };
  });

  it('as the host reads it', () => {
    for (const { testCase, td } of cases) expect(hostView(td)).toEqual(testCase.expect.kvm_get_cpuid);
  });

  it('as the guest executes it', () => {
    for (const { testCase, td, module } of cases) {
      const { expect: expected } = testCase;
      const wroteTdCtls = expected.tdg_vm_wr_td_ctls?.name === 'TDX_SUCCESS';
      const state: GuestState = {
        cr4: BigInt(testCase.cr4),
        xcr0: expected.xsetbv === 'ok' ? BigInt(testCase.xcr0) : 1n,
        xss: expected.wrmsr_xss === 'ok' ? BigInt(testCase.xss) : 0n,
        tdCtls: wroteTdCtls ? BigInt(testCase.td_ctls) : 0n,
        vcpuIndex: 0,
        x2apicId: testCase.x2apic_id ?? 0,
        tsxCpuidClear: false,
        longMode: testCase.mode64,
      };
      const rows = (expected.guest_cpuid as string[]).map((row) => {
        const [leaf, subleaf] = row.split(':').map((part) => Number.parseInt(part, 16));
        const answer = guestCpuid(module.host, td.registers, state, leaf!, subleaf!);
        return `${hex(leaf!)}:${hex(subleaf!)}:${answer ? values(answer) : 've'}`;
      });
      expect(rows).toEqual(expected.guest_cpuid);
    }
  });
});

describe('a guest that clears TSX in IA32_TSX_CTRL', () => {
  it('sees neither HLE nor RTM', () => {
    const boot = bootModule(loadRules('1.5.06'), loadPlatform('spr'));
    if (!boot.ok) throw new Error(boot.rule);
    const params = new Uint8Array(1024);
    // XFAM x87 and SSE, one vCPU, 4-level EPT, 1 GHz; CPUID_CONFIG[5].EBX: HLE and RTM.
    params[8] = 3;
    params[16] = 1;
    params[24] = 0x1e;
    params[40] = 40;
    new DataView(params.buffer).setUint32(256 + 5 * 16 + 4, (1 << 4) | (1 << 11), true);
    const td = initTd(boot.module, params, 6).td!;
    const state = { cr4: 0n, xcr0: 1n, xss: 0n, tdCtls: 0n, vcpuIndex: 0, x2apicId: 0, longMode: true };
    const tsx = (tsxCpuidClear: boolean): number =>
      guestCpuid(boot.module.host, td.registers, { ...state, tsxCpuidClear }, 7, 0)![1] & 0x810;
    expect([tsx(false), tsx(true)]).toEqual([0x810, 0]);
  });
});
