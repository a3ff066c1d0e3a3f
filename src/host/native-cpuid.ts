import type { CpuidRegisters, HostReaders } from './readers.js';

/** Leaves whose answer depends on ECX (Intel SDM, CPUID), and how many sub-leaves to ask for. */
const INDEXED: ReadonlyMap<number, number> = new Map([
  [0x4, 16],
  [0x7, 8],
  [0xb, 8],
  [0xd, 64],
  [0xf, 2],
  [0x10, 8],
  [0x12, 16],
  [0x14, 8],
  [0x17, 8],
  [0x18, 16],
  [0x1d, 8],
  [0x1e, 8],
  [0x1f, 8],
  [0x20, 8],
  [0x23, 8],
  [0x24, 8],
]);

/** Topology leaves echo the sub-leaf and the x2APIC id also where there is no level. */
const TOPOLOGY: ReadonlySet<number> = new Set([0xb, 0x1f]);

export interface CpuidRow extends CpuidRegisters {
  leaf: number;
  /** Null where the leaf has none. */
  subleaf: number | null;
}

const isEmpty = (leaf: number, { eax, ebx, ecx, edx }: CpuidRegisters) =>
  TOPOLOGY.has(leaf) ? ((ecx >>> 8) & 0xff) === 0 : (eax | ebx | ecx | edx) === 0;

/**
 * Every (sub-)leaf of the CPUID instruction that is not all zeros, in order.
 * @throws Error with the reader's reason where the instruction cannot be asked.
 */
export function readCpuidRows(readers: HostReaders): CpuidRow[] {
  const ask = (leaf: number, subleaf: number): CpuidRegisters => {
    const reading = readers.cpuid(leaf, subleaf);
    if (!reading.ok) throw new Error(`CPUID cannot be read: ${reading.reason}`);
    return reading.value;
  };
  const rows: CpuidRow[] = [];
  for (const first of [0, 0x8000_0000]) {
    const last = ask(first, 0).eax;
    for (let leaf = first; leaf <= last && leaf - first < 0x100; leaf++) {
      const count = INDEXED.get(leaf);
      for (let subleaf = 0; subleaf < (count ?? 1); subleaf++) {
        const registers = ask(leaf, subleaf);
        if (!isEmpty(leaf, registers)) rows.push({ leaf, subleaf: count === undefined ? null : subleaf, ...registers });
      }
    }
  }
  return rows;
}
