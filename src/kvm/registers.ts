// Registers as the numbers of the kernel's structs, in their order. Checked on the way in: a wrong field is told by its path.
import { integer, list, record, u64 } from './check.js';
import type { KvmDtable, KvmRegs, KvmSegment, KvmSregs } from './vcpu.js';

const regsFields = [
  ...(['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp'] as const),
  ...(['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15', 'rip', 'rflags'] as const),
];

/** @throws TypeError, RangeError. */
export function packRegs(regs: unknown): BigUint64Array {
  const values = record('regs', regs);
  return BigUint64Array.from(regsFields, (field) => u64(`regs.${field}`, values[field]));
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
    yield most === undefined ? u64(path, values[field]) : BigInt(integer(path, values[field], most));
  }
}

/** @throws TypeError, RangeError. */
export function packSregs(sregs: unknown): BigUint64Array {
  const values = record('sregs', sregs);
  const numbers: bigint[] = [];
  for (const name of segments) numbers.push(...packFields(`sregs.${name}`, values[name], segmentFields));
  for (const name of tables) numbers.push(...packFields(`sregs.${name}`, values[name], tableFields));
  for (const name of control) numbers.push(u64(`sregs.${name}`, values[name]));
  const bitmap = list('sregs.interruptBitmap', values['interruptBitmap'], bitmapWords);
  for (let i = 0; i < bitmapWords; i++) numbers.push(u64(`sregs.interruptBitmap[${i}]`, bitmap[i]));
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
