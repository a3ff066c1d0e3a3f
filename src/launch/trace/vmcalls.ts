// Sub-functions of TDG.VP.VMCALL in words (Intel TDX GHCI).
import { VMCALL_STATUS } from '../run/td-vmcall.js';
import { type Facts, hex } from './exit-text.js';
import { type Gpr, gpr } from './registers.js';

interface SubFunction {
  name: string;
  inputs: (read: (name: Gpr) => bigint) => Facts;
  outputs?: Readonly<Partial<Record<Gpr, string>>>;
}

type Inputs = Readonly<Partial<Record<Gpr, string>>>;

const named =
  (inputs: Inputs) =>
  (read: (name: Gpr) => bigint): Facts =>
    Object.fromEntries(Object.entries(inputs).map(([register, name]) => [name, hex(read(register as Gpr))]));

/** Size, direction and place of an access; the data of a write only. */
const access =
  (place: string, [read, write]: readonly [string, string]) =>
  (register: (name: Gpr) => bigint): Facts => {
    const isWrite = register('r13') === 1n;
    return {
      direction: isWrite ? write : read,
      [place]: hex(register('r14')),
      size: Number(register('r12')),
      ...(isWrite && { data: hex(register('r15')) }),
    };
  };

const SUB_FUNCTIONS: Readonly<Record<number, SubFunction>> = {
  10: {
    name: 'Instruction.CPUID',
    inputs: named({ r12: 'leaf', r13: 'subleaf' }),
    outputs: { r12: 'eax', r13: 'ebx', r14: 'ecx', r15: 'edx' },
  },
  12: { name: 'Instruction.HLT', inputs: named({ r12: 'interrupts_blocked' }) },
  30: { name: 'Instruction.IO', inputs: access('port', ['in', 'out']), outputs: { r11: 'data' } },
  31: { name: 'Instruction.RDMSR', inputs: named({ r12: 'msr' }), outputs: { r11: 'value' } },
  32: { name: 'Instruction.WRMSR', inputs: named({ r12: 'msr', r13: 'value' }) },
  48: { name: '#VE.RequestMMIO', inputs: access('gpa', ['read', 'write']), outputs: { r11: 'data' } },
  54: { name: 'Instruction.WBINVD', inputs: named({ r12: 'invd' }) },
  65: { name: 'Instruction.PCONFIG', inputs: named({}) },
  65536: {
    name: 'GetTdVmCallInfo',
    inputs: named({ r12: 'leaf' }),
    outputs: { r11: 'r11', r12: 'r12', r13: 'r13', r14: 'r14' },
  },
  65537: { name: 'MapGPA', inputs: named({ r12: 'gpa', r13: 'size' }), outputs: { r11: 'next_gpa' } },
  65538: { name: 'GetQuote', inputs: named({ r12: 'gpa', r13: 'size' }) },
  65539: { name: 'ReportFatalError', inputs: named({ r12: 'code', r13: 'gpa' }) },
  65540: { name: 'SetupEventNotifyInterrupt', inputs: named({ r12: 'vector' }) },
  65541: { name: 'Service', inputs: named({ r12: 'command_gpa', r13: 'response_gpa', r14: 'vector', r15: 'timeout' }) },
};

const statusName = new Map(Object.entries(VMCALL_STATUS).map(([name, value]) => [value as bigint, name]));

export interface VmcallText {
  /** `TDG.VP.VMCALL<Instruction.IO>`. */
  name: string;
  facts: Facts;
  /** What the host answered, where the guest has got it. */
  results?: Facts;
}

/** @param before, after registers of the TDCALL; `after` is missing where it has not been answered. */
export function vmcallText(before: BigUint64Array, after?: BigUint64Array): VmcallText {
  const [kind, number] = [gpr(before, 'r10'), gpr(before, 'r11')];
  if (kind !== 0n) return { name: 'TDG.VP.VMCALL<vendor>', facts: { r10: hex(kind), r11: hex(number) } };
  const known = number <= 0xffff_ffffn ? SUB_FUNCTIONS[Number(number)] : undefined;
  const text: VmcallText = {
    name: `TDG.VP.VMCALL<${known?.name ?? hex(number)}>`,
    facts: known ? known.inputs((register) => gpr(before, register)) : {},
  };
  if (!after) return text;
  const status = gpr(after, 'r10');
  const results: Facts = { vmcall: statusName.get(status) ?? hex(status) };
  const wantsOutputs =
    status === VMCALL_STATUS.SUCCESS && text.facts['direction'] !== 'out' && text.facts['direction'] !== 'write';
  if (wantsOutputs || status === VMCALL_STATUS.RETRY) {
    for (const [register, name] of Object.entries(known?.outputs ?? {}))
      results[name] = hex(gpr(after, register as Gpr));
  }
  return { ...text, results };
}
