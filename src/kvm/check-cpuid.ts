import { list, record, u32 } from './check.js';
import type { CpuidEntry } from './cpuid.js';

const fields = ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'] as const;

/** A checked copy of CPUID entries: what they become later changes nothing. Holes of an array are no entries. */
export const cpuidEntries = (name: string, entries: unknown): CpuidEntry[] =>
  Array.from(list(name, entries), (value, i) => {
    const entry = record(`${name}[${i}]`, value);
    const copy = fields.map((field) => [field, u32(`${name}[${i}].${field}`, entry[field])] as const);
    return Object.fromEntries(copy) as unknown as CpuidEntry;
  });
