// Objects of the seam as flat numbers for the addon, and back. Orders are those of the kernel's structs.
import type { CpuidEntry } from '../kvm/cpuid.js';
import type { ExitReply } from '../kvm/exits.js';
import type { KvmDtable, KvmRegs, KvmSegment, KvmSregs, PortAnswer } from '../kvm/vcpu.js';
import { array, bigint, integer, record } from './check.js';

const cpuidFields = ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const;

export function packCpuid(name: string, entries: readonly CpuidEntry[]): Uint32Array {
  const list = array(name, entries);
  const numbers = new Uint32Array(list.length * cpuidFields.length);
  list.forEach((value, i) => {
    const entry = record(`${name}[${i}]`, value);
    cpuidFields.forEach((field, j) => {
      numbers[i * cpuidFields.length + j] = integer(`${name}[${i}].${field}`, entry[field], 0xffff_ffff);
    });
  });
  return numbers;
}

export function unpackCpuid(numbers: Uint32Array): CpuidEntry[] {
  return Array.from({ length: numbers.length / cpuidFields.length }, (_, i) => {
    const at = i * cpuidFields.length;
    return Object.fromEntries(cpuidFields.map((field, j) => [field, numbers[at + j]])) as unknown as CpuidEntry;
  });
}

const regsFields = [
  ...(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip', 'rflags'] as const),
];

export function packRegs(regs: KvmRegs): BigUint64Array {
  const values = record('regs', regs);
  return BigUint64Array.from(regsFields, (field) => bigint(`regs.${field}`, values[field]));
}

export const unpackRegs = (numbers: BigUint64Array): KvmRegs =>
  Object.fromEntries(regsFields.map((field, i) => [field, numbers[i]])) as unknown as KvmRegs;

/** Field and its largest value; a bigint field has none. */
type Fields = readonly (readonly [name: string, most?: number])[];

const segmentFields: Fields = [
  ['base'],
  ['limit', 0xffff_ffff],
  ['selector', 0xffff],
  ...['type', 'present', 'dpl', 'db', 's', 'l', 'g', 'avl', 'unusable'].map((name) => [name, 0xff] as const),
];
const tableFields: Fields = [['base'], ['limit', 0xffff]];
const segments = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const;
const tables = ['gdt', 'idt'] as const;
const control = ['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer', 'apicBase'] as const;
const bitmapWords = 4;

function* packFields(name: string, value: unknown, fields: Fields): Generator<bigint> {
  const values = record(name, value);
  for (const [field, most] of fields) {
    const path = `${name}.${field}`;
    yield most === undefined ? bigint(path, values[field]) : BigInt(integer(path, values[field], most));
  }
}

export function packSregs(sregs: KvmSregs): BigUint64Array {
  const values = record('sregs', sregs);
  const numbers: bigint[] = [];
  for (const name of segments) numbers.push(...packFields(`sregs.${name}`, values[name], segmentFields));
  for (const name of tables) numbers.push(...packFields(`sregs.${name}`, values[name], tableFields));
  for (const name of control) numbers.push(bigint(`sregs.${name}`, values[name]));
  const bitmap = array('sregs.interruptBitmap', values['interruptBitmap'], bitmapWords);
  for (let i = 0; i < bitmapWords; i++) numbers.push(bigint(`sregs.interruptBitmap[${i}]`, bitmap[i]));
  return BigUint64Array.from(numbers);
}

export function unpackSregs(numbers: BigUint64Array): KvmSregs {
  let at = 0;
  const next = (): bigint => numbers[at++] as bigint;
  const fields = (list: Fields): unknown =>
    Object.fromEntries(list.map(([field, most]) => [field, most === undefined ? next() : Number(next())]));
  return {
    ...(Object.fromEntries(segments.map((name) => [name, fields(segmentFields)])) as Record<
      (typeof segments)[number],
      KvmSegment
    >),
    ...(Object.fromEntries(tables.map((name) => [name, fields(tableFields)])) as Record<
      (typeof tables)[number],
      KvmDtable
    >),
    ...(Object.fromEntries(control.map((name) => [name, next()])) as Record<(typeof control)[number], bigint>),
    interruptBitmap: [next(), next(), next(), next()],
  };
}

const emptyBus = 0xff;

export function packPorts(ports: readonly PortAnswer[]): Uint32Array {
  return Uint32Array.from(
    array('ports', ports).flatMap((value, i) => {
      const path = `ports[${i}]`;
      const range = record(path, value);
      const first = integer(`${path}.first`, range['first'], 0xffff);
      const last = integer(`${path}.last`, range['last'], 0xffff);
      if (first > last) throw new RangeError(`${path}: first ${first} is beyond last ${last}`);
      const readByte = integer(`${path}.readByte`, range['readByte'] ?? emptyBus, 0xff);
      const gather = range['gather'] ?? false;
      if (typeof gather !== 'boolean') throw new TypeError(`${path}.gather must be a boolean, got ${typeof gather}`);
      return [first, last, readByte, gather ? 1 : 0];
    }),
  );
}

export function packTdVmCallInfo(info: NonNullable<ExitReply['tdVmCallInfo']>): BigUint64Array {
  const values = record('reply.tdVmCallInfo', info);
  return BigUint64Array.from(['r11', 'r12', 'r13', 'r14'], (field) =>
    bigint(`reply.tdVmCallInfo.${field}`, values[field]),
  );
}
