/** CPUID rows of a processor: a profile, or a capture. `subleaf` null where it is not significant. */
export interface NativeRow {
  leaf: string | number;
  subleaf: string | number | null;
  eax: string | number;
  ebx: string | number;
  ecx: string | number;
  edx: string | number;
}

export type Values = readonly [number, number, number, number];

const ZEROS: Values = [0, 0, 0, 0];
const key = (leaf: number, subleaf: number | null): string => `${leaf}:${subleaf ?? '-'}`;

/** What CPUID gives natively. (Sub-)leaves without a row read as zeros. */
export class NativeCpuid {
  readonly #rows = new Map<string, Values>();

  constructor(rows: Iterable<NativeRow>) {
    for (const row of rows) {
      const values = [row.eax, row.ebx, row.ecx, row.edx].map((v) => Number(v) >>> 0) as unknown as Values;
      const subleaf = row.subleaf === null ? null : Number(row.subleaf);
      this.#rows.set(key(Number(row.leaf), subleaf), values);
    }
  }

  read(leaf: number, subleaf: number | null): Values {
    const exact = this.#rows.get(key(leaf, subleaf));
    if (exact) return exact;
    return this.#rows.get(key(leaf, subleaf === null ? 0 : null)) ?? ZEROS;
  }
}
