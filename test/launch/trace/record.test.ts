import { describe, expect, it } from 'vitest';
import { GPRS } from '../../../src/kvm/gprs.js';
import { tdxStatus } from '../../../src/kvm/index.js';
import {
  formatTrace,
  recordOfGuest,
  recordOfRun,
  recordOfSeamcall,
  traceLine,
} from '../../../src/launch/trace/index.js';
import type { Gpr } from '../../../src/launch/trace/registers.js';
import { TDH } from '../../../src/mock/module/seamcall.js';

const gprs = (values: Partial<Record<Gpr, bigint>>): BigUint64Array =>
  BigUint64Array.from(GPRS.map((name) => values[name] ?? 0n));

const tdcall = (before: Partial<Record<Gpr, bigint>>, after?: Partial<Record<Gpr, bigint>>) =>
  recordOfGuest(
    {
      kind: 'tdcall',
      vcpu: 1,
      rip: 0x1000n,
      leaf: Number(before.rax ?? 0n),
      before: gprs(before),
      ...(after && { after: gprs(after) }),
    },
    0,
  );

describe('a TDCALL in a trace', () => {
  it('has its name, its operands by name, its status and what came back', () => {
    const record = tdcall({ rax: 8n, rdx: 0x99n, r8: 5n, r9: 7n }, { rdx: 0x99n, r8: 3n, r9: 7n });
    expect(record).toMatchObject({
      seen: 'guest',
      vcpu: 1,
      rip: '0x1000',
      name: 'TDG.VM.WR',
      facts: { vm: '0x0', field: '0x99', value: '0x5', mask: '0x7' },
      status: 'TDX_SUCCESS',
      results: { old_value: '0x3' },
      registers: { rax: '0x8', r8: '0x5', r15: '0x0' },
      changed: { rax: '0x0', r8: '0x3' },
    });
  });

  it('that was refused has the status by name with its operand, the rule, and no results', () => {
    const status = tdxStatus('TDX_OPERAND_INVALID', 1);
    const before = gprs({ rax: 7n, rcx: 9n });
    const after = gprs({ rax: status, rcx: 9n });
    const rule = 'module.vm-wr.vm';
    const record = recordOfGuest({ kind: 'tdcall', vcpu: 0, rip: 0n, leaf: 7, before, after, rule }, 0);
    expect(record.status).toMatch(/^TDX_OPERAND_INVALID .*operand RCX$/);
    expect(record).not.toHaveProperty('results');
    expect(traceLine(record)).toMatch(/-> TDX_OPERAND_INVALID .*, \[module\.vm-wr\.vm\]$/);
  });

  it('of VEINFO names the exit reason', () => {
    expect(tdcall({ rax: 3n }, { rcx: 31n, r10: 2n }).results).toMatchObject({
      exit_reason: 'MSR_READ (31)',
      instruction: '0x2',
    });
  });

  it('of a leaf that nobody knows has its number', () => {
    expect(tdcall({ rax: 99n }).name).toBe('TDCALL leaf 99');
  });

  it.each<[string, Partial<Record<Gpr, bigint>>, object]>([
    ['Instruction.IO', { r11: 30n, r12: 4n, r13: 0n, r14: 0xcfcn }, { direction: 'in', port: '0xcfc', size: 4 }],
    [
      'Instruction.IO',
      { r11: 30n, r12: 1n, r13: 1n, r14: 0x3f8n, r15: 0x41n },
      { direction: 'out', port: '0x3f8', size: 1, data: '0x41' },
    ],
    ['Instruction.CPUID', { r11: 10n, r12: 0x4000_0000n }, { leaf: '0x40000000', subleaf: '0x0' }],
    ['Instruction.WRMSR', { r11: 32n, r12: 0x10n, r13: 5n }, { msr: '0x10', value: '0x5' }],
    [
      '#VE.RequestMMIO',
      { r11: 48n, r12: 8n, r13: 1n, r14: 0xfec0_0000n, r15: 1n },
      { direction: 'write', gpa: '0xfec00000', size: 8, data: '0x1' },
    ],
    ['MapGPA', { r11: 0x10001n, r12: 0x2000n, r13: 0x1000n }, { gpa: '0x2000', size: '0x1000' }],
    ['0x777', { r11: 0x777n }, {}],
  ])('of VMCALL<%s> has what the sub-function means', (name, registers, facts) => {
    expect(tdcall(registers)).toMatchObject({ name: `TDG.VP.VMCALL<${name}>`, facts });
  });

  it('of VMCALL has the answer of the host, by name', () => {
    const cpuid = { r11: 10n, r12: 1n };
    expect(tdcall(cpuid, { ...cpuid, r12: 1n, r13: 2n, r14: 3n, r15: 4n }).results).toEqual({
      vmcall: 'SUCCESS',
      eax: '0x1',
      ebx: '0x2',
      ecx: '0x3',
      edx: '0x4',
    });
    const rdmsr = { r11: 31n, r12: 0x999n };
    expect(tdcall(rdmsr, { ...rdmsr, r10: 0x8000_0000_0000_0000n }).results).toEqual({ vmcall: 'INVALID_OPERAND' });
    const write = { r11: 30n, r13: 1n };
    expect(tdcall(write, write).results).toEqual({ vmcall: 'SUCCESS' });
    const map = { r11: 0x10001n };
    expect(tdcall(map, { r10: 1n, r11: 0x5000n }).results).toEqual({ vmcall: 'RETRY', next_gpa: '0x5000' });
  });
});

describe('what else a trace has', () => {
  it('exceptions that the TDX module injects', () => {
    const ve = { kind: 'exception', vcpu: 0, rip: 5n, vector: 20, exitReason: 12 } as const;
    expect(traceLine(recordOfGuest(ve, 1.5))).toBe('     1.500 ms  vcpu 0   0x5         #VE  reason HLT (12)');
    const gp = { kind: 'exception', vcpu: 0, rip: 5n, vector: 13, errorCode: 0, rule: 'module.xsetbv.xfam' } as const;
    expect(traceLine(recordOfGuest(gp, 1.5))).toMatch(/#GP {2}error_code 0x0 {2}-> \[module\.xsetbv\.xfam\]$/);
  });

  it('TD exits', () => {
    const exit = { kind: 'exit', vcpu: 2, rip: 5n, exitReason: 48 } as const;
    expect(recordOfGuest(exit, 0)).toMatchObject({ name: 'TD exit', facts: { reason: 'EPT_VIOLATION (48)' } });
  });

  it('SEAMCALLs with operands by name, and of TDH.VP.ENTER the exit reason', () => {
    const none = { rcx: 0n, rdx: 0n, r8: 0n, r9: 0n, r10: 0n, r11: 0n };
    const aug = { leaf: TDH.MEM_PAGE_AUG, args: { rcx: 0x1000n, rdx: 0x2000n, r8: 0x3000n }, injected: false };
    expect(recordOfSeamcall({ ...aug, result: { status: 0n, ...none } }, 0)).toEqual({
      atMs: 0,
      seen: 'host',
      name: 'TDH.MEM.PAGE.AUG',
      facts: { gpa_and_level: '0x1000', tdr: '0x2000', page: '0x3000' },
      status: 'TDX_SUCCESS',
    });
    const busy = { status: tdxStatus('TDX_OPERAND_BUSY', 128), ...none };
    expect(recordOfSeamcall({ ...aug, injected: true, result: busy }, 0).status).toMatch(
      /^TDX_OPERAND_BUSY .*operand TDR \(injected fault\)$/,
    );
    const enter = { leaf: TDH.VP_ENTER, args: { rcx: 0x9000n }, injected: false, result: { status: 77n, ...none } };
    expect(recordOfSeamcall(enter, 0)).toMatchObject({
      facts: { tdvpr: '0x9000' },
      status: 'TDX_SUCCESS, TDCALL (77)',
    });
    const dead = tdxStatus('TDX_NON_RECOVERABLE_VCPU', 2);
    expect(recordOfSeamcall({ ...enter, result: { status: dead, ...none } }, 0).status).toContain(
      'TDX_NON_RECOVERABLE_VCPU',
    );
  });

  it('exits of KVM_RUN on any backend, with the reply', () => {
    const exit = { reason: 'io', direction: 'in', port: 0x60, size: 1, count: 1, data: new Uint8Array(0) } as const;
    const event = { kind: 'kvm-exit', atMs: 7, vcpu: 0, exit, reply: { data: Uint8Array.of(0xff) } } as const;
    expect(traceLine(recordOfRun(event, 12.25))).toBe(
      '    12.250 ms  vcpu 0               KVM_EXIT_IO  direction in, port 0x60, size 1  -> data ff',
    );
    expect(JSON.parse(formatTrace(recordOfRun(event, 12.2504), 'json'))).toEqual({
      atMs: 12.25,
      seen: 'kvm',
      vcpu: 0,
      name: 'KVM_EXIT_IO',
      facts: { direction: 'in', port: '0x60', size: 1 },
      results: { data: 'ff' },
    });
  });
});
