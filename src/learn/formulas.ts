import { xsaveCompacted, xsaveStandard } from '../cpuid/xsave.js';
import type { Settings } from './settings.js';

/** Values that a TD shows: EAX to EDX by place, such as `0x1f.0`. */
export type Registers = Readonly<Record<string, readonly number[]>>;

/** XSAVE components of the host by number, as CPUID(0xD, n) shows them. */
export type XsaveComponents = readonly { size: number; offset: number; align: boolean }[];

/** What a calculated register may depend on. */
export interface FormulaInput {
  xfam: bigint;
  shown: Registers;
  xsave: XsaveComponents;
  /** 0 to 3. */
  register: number;
}

export interface Formula {
  meaning: string;
  depends: readonly string[];
  value: (input: FormulaInput) => number;
}

const XFAM_ALWAYS = 3n;
const SMT = 1;
const mask = (xfam: bigint): number => Number((xfam | XFAM_ALWAYS) & 0xffff_ffffn);

/** Supervisor components have no place, offset 0, in the standard format. */
const userState = (component: XsaveComponents[number]): XsaveComponents[number] =>
  component.offset === 0 ? { ...component, size: 0 } : component;

/** Sub-leaves of CPUID(0x1F), and among them the levels: those whose type (ECX[15:8]) is not 0. */
function levels(shown: Registers): (readonly number[])[] {
  const found: (readonly number[])[] = [];
  for (let n = 0; ; n++) {
    const level = shown[`0x1f.${n}`];
    if (!level) return found;
    if (typeOf(level) !== 0) found.push(level);
  }
}
const typeOf = (level: readonly number[] | undefined): number => ((level?.[2] ?? 0) >>> 8) & 0xff;
const hasSmt = (shown: Registers): boolean => typeOf(shown['0x1f.0']) === SMT;

/**
 * Calculations that registers of several bits are tried against. A formula is believed where it gives the register in every
 * experiment, and a register is tried only where single conditions do not explain its bits well.
 */
export const FORMULAS = {
  'xsave-standard': {
    meaning: 'bytes of the XSAVE area for XFAM in the standard format',
    depends: ['xfam'],
    value: ({ xfam, xsave }) => xsaveStandard(xsave.map(userState), mask(xfam)),
  },
  'xsave-compacted': {
    meaning: 'bytes of the XSAVE area for XFAM in the compacted format',
    depends: ['xfam'],
    value: ({ xfam, xsave }) => xsaveCompacted(xsave, mask(xfam)),
  },
  'topology-last-level': {
    meaning: 'the last level of CPUID(0x1F)',
    depends: ['config(0x1f)'],
    value: ({ shown, register }) => levels(shown).at(-1)?.[register] ?? 0,
  },
  'topology-first-of-two': {
    meaning: 'the SMT level of CPUID(0x1F), or the last one where there is no SMT level',
    depends: ['config(0x1f)'],
    value: ({ shown, register }) => (hasSmt(shown) ? shown['0x1f.0'] : levels(shown).at(-1))?.[register] ?? 0,
  },
  'topology-second-of-two': {
    meaning: 'the last level of CPUID(0x1F), or 0 where there is no SMT level',
    depends: ['config(0x1f)'],
    value: ({ shown, register }) => (hasSmt(shown) ? (levels(shown).at(-1)?.[register] ?? 0) : 0),
  },
} as const satisfies Readonly<Record<string, Formula>>;

export type FormulaName = keyof typeof FORMULAS;

/** The first formula that gives `register` of `place` in every experiment. */
export function findFormula(
  place: string,
  register: number,
  experiments: readonly { settings: Settings; shown: Registers }[],
  xsave: XsaveComponents,
): FormulaName | undefined {
  return (Object.keys(FORMULAS) as FormulaName[]).find((name) =>
    experiments.every(
      ({ settings: { xfam }, shown }) =>
        FORMULAS[name].value({ xfam, shown, xsave, register }) === (shown[place]?.[register] ?? 0),
    ),
  );
}

/** The XSAVE components that experiments have shown: CPUID(0xD, n) is 0 unless XFAM has n. */
export function xsaveOf(experiments: readonly { shown: Registers }[]): XsaveComponents {
  return Array.from({ length: 32 }, (_, n) => {
    const place = `0xd.${n < 10 ? n : `0x${n.toString(16)}`}`;
    const seen = experiments.find(({ shown }) => (shown[place]?.[0] ?? 0) !== 0)?.shown[place];
    const [size = 0, offset = 0, flags = 0] = n < 2 ? [] : (seen ?? []);
    return { size, offset, align: (flags & 2) !== 0 };
  });
}
