// Checked objects of the seam as flat numbers for the addon, and back.
import type { CpuidEntry } from '../kvm/cpuid.js';
import type { ExitReply } from '../kvm/exits.js';
import type { PortAnswer } from '../kvm/vcpu.js';

const cpuidFields = ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const;

export const packCpuid = (entries: readonly CpuidEntry[]): Uint32Array =>
  Uint32Array.from(entries.flatMap((entry) => cpuidFields.map((field) => entry[field])));

export function unpackCpuid(numbers: Uint32Array): CpuidEntry[] {
  return Array.from({ length: numbers.length / cpuidFields.length }, (_, i) => {
    const at = i * cpuidFields.length;
    return Object.fromEntries(cpuidFields.map((field, j) => [field, numbers[at + j]])) as unknown as CpuidEntry;
  });
}

export const packPorts = (ports: readonly Required<PortAnswer>[]): Uint32Array =>
  Uint32Array.from(ports.flatMap(({ first, last, readByte, gather }) => [first, last, readByte, gather ? 1 : 0]));

export const packMsr = ({ error, data = 0n }: NonNullable<ExitReply['msr']>): BigUint64Array =>
  BigUint64Array.of(error ? 1n : 0n, data);

export const packTdVmCallInfo = (info: NonNullable<ExitReply['tdVmCallInfo']>): BigUint64Array =>
  BigUint64Array.of(info.r11, info.r12, info.r13, info.r14);
