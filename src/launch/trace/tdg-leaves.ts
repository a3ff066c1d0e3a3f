// Guest-side interface functions of the TDX module: names, and what their registers mean (Intel TDX module ABI; tdx_api_defs.h).
import type { Gpr } from './registers.js';

export interface LeafText {
  name: string;
  inputs: Readonly<Partial<Record<Gpr, string>>>;
  outputs: Readonly<Partial<Record<Gpr, string>>>;
}

const leaf = (name: string, inputs: LeafText['inputs'] = {}, outputs: LeafText['outputs'] = {}): LeafText => ({
  name,
  inputs,
  outputs,
});

export const TDG_LEAVES: Readonly<Record<number, LeafText>> = {
  0: leaf('TDG.VP.VMCALL'),
  1: leaf(
    'TDG.VP.INFO',
    {},
    { rcx: 'gpaw', rdx: 'attributes', r8: 'vcpus', r9: 'vcpu_index', r10: 'sys_rd_allowed', r11: 'config_flags' },
  ),
  2: leaf('TDG.MR.RTMR.EXTEND', { rcx: 'data_gpa', rdx: 'rtmr' }),
  3: leaf(
    'TDG.VP.VEINFO.GET',
    {},
    { rcx: 'exit_reason', rdx: 'exit_qualification', r8: 'gla', r9: 'gpa', r10: 'instruction' },
  ),
  4: leaf('TDG.MR.REPORT', { rcx: 'report_gpa', rdx: 'report_data_gpa', r8: 'sub_type' }),
  5: leaf('TDG.VP.CPUIDVE.SET', { rcx: 'flags' }),
  6: leaf('TDG.MEM.PAGE.ACCEPT', { rcx: 'gpa_and_level' }),
  7: leaf('TDG.VM.RD', { rcx: 'vm', rdx: 'field' }, { r8: 'value' }),
  8: leaf('TDG.VM.WR', { rcx: 'vm', rdx: 'field', r8: 'value', r9: 'mask' }, { r8: 'old_value' }),
  9: leaf('TDG.VP.RD', { rdx: 'field' }, { r8: 'value' }),
  10: leaf('TDG.VP.WR', { rdx: 'field', r8: 'value', r9: 'mask' }, { r8: 'old_value' }),
  11: leaf('TDG.SYS.RD', { rdx: 'field' }, { rdx: 'next_field', r8: 'value' }),
  12: leaf('TDG.SYS.RDALL', { rdx: 'list_gpa', r8: 'field' }, { r8: 'next_field' }),
  18: leaf('TDG.SERVTD.RD', { rcx: 'binding', rdx: 'field', r10: 'uuid_0' }, { r8: 'value' }),
  20: leaf('TDG.SERVTD.WR', { rcx: 'binding', rdx: 'field', r8: 'value', r9: 'mask' }, { r8: 'old_value' }),
  22: leaf('TDG.MR.VERIFYREPORT', { rcx: 'report_gpa' }),
  23: leaf('TDG.MEM.PAGE.ATTR.RD', { rcx: 'gpa' }, { rcx: 'gpa_and_level', rdx: 'attributes' }),
  24: leaf('TDG.MEM.PAGE.ATTR.WR', { rcx: 'gpa_and_level', rdx: 'attributes', r8: 'flags' }),
  25: leaf('TDG.VP.ENTER', { rcx: 'flags', rdx: 'state_gpa' }, { rcx: 'exit_qualification' }),
  26: leaf('TDG.VP.INVEPT', { rcx: 'vms' }),
  27: leaf('TDG.VP.INVVPID', { rcx: 'vms' }),
};

/** Registers that are a VMX exit reason. */
export const EXIT_REASON_OUTPUT = 'exit_reason';
