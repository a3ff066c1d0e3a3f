import type { BitKind } from '../origin.js';

/** How the map shows one kind of bit. */
export interface MapKind {
  readonly id: string;
  /** In each cell: nobody has to tell colours apart. */
  readonly letter: string;
  readonly label: string;
  readonly meaning: string;
  /** Fill of a bit that is 1, on light and on dark. */
  readonly light: string;
  readonly dark: string;
  /** The like of it among the 256 colours of terminals: of middling lightness, to be read on dark, on light and below black. */
  readonly terminal: number;
}

// The colours began as Okabe and Ito's and were moved apart until they differ in every kind of colour vision.
export const MAP_KINDS = [
  {
    id: 'fixed',
    letter: 'F',
    label: 'fixed',
    meaning: 'the same in every TD of this module version',
    light: '#b0b0ab',
    dark: '#6a6d70',
    terminal: 245,
  },
  {
    id: 'native',
    letter: 'N',
    label: 'native',
    meaning: 'as the processor has it',
    light: '#5c6373',
    dark: '#587697',
    terminal: 67,
  },
  {
    id: 'configured',
    letter: 'C',
    label: 'configured',
    meaning: 'as CPUID_CONFIG of the configuration says',
    light: '#004f8b',
    dark: '#367aee',
    terminal: 33,
  },
  {
    id: 'allowed',
    letter: 'A',
    label: 'allowed',
    meaning: 'as CPUID_CONFIG says, where the processor has it',
    light: '#6b9dfe',
    dark: '#8cdfff',
    terminal: 38,
  },
  {
    id: 'xfam',
    letter: 'X',
    label: 'XFAM-dependent',
    meaning: 'there only with certain bits of XFAM, or calculated of just these',
    light: '#e68805',
    dark: '#ef9903',
    terminal: 172,
  },
  {
    id: 'attribute',
    letter: 'T',
    label: 'attribute-dependent',
    meaning: 'there only with certain bits of ATTRIBUTES, or just these',
    light: '#ffd32a',
    dark: '#d1f471',
    terminal: 142,
  },
  {
    id: 'cpuid',
    letter: 'P',
    label: 'follows CPUID',
    meaning: 'there only with another CPUID bit of the TD',
    light: '#774430',
    dark: '#89522e',
    terminal: 130,
  },
  {
    id: 'calculated',
    letter: 'K',
    label: 'calculated',
    meaning: 'by the module, of the configuration or the processor',
    light: '#04bb65',
    dark: '#15b772',
    terminal: 35,
  },
  {
    id: 'dynamic',
    letter: 'D',
    label: 'dynamic',
    meaning: 'with the state of the vCPU that executes CPUID, such as CR4 or its APIC id',
    light: '#d794db',
    dark: '#f5cbc1',
    terminal: 170,
  },
  {
    id: 've',
    letter: 'V',
    label: '#VE',
    meaning: "CPUID gives a #VE: the guest's handler makes up a value",
    light: '#bf4600',
    dark: '#ce6018',
    terminal: 167,
  },
  {
    id: 'guest',
    letter: 'G',
    label: 'guest decides',
    meaning: '#VE until the guest opts in to a value (TD_CTLS and its like)',
    light: '#643bcd',
    dark: '#a492e6',
    terminal: 99,
  },
  {
    id: 'unknown',
    letter: '?',
    label: 'unknown',
    meaning: 'there are no rules for the TDX module',
    light: '#e2e2e2',
    dark: '#4a4d50',
    terminal: 247,
  },
  {
    id: 'absent',
    letter: '-',
    label: 'not there',
    meaning: 'the whole sub-leaf is fixed to zeros',
    light: '#ffffff',
    dark: '#17191b',
    terminal: 244,
  },
] as const satisfies readonly MapKind[];

export type MapKindId = (typeof MAP_KINDS)[number]['id'];

const RENAMED: Partial<Record<BitKind, MapKindId>> = { '#VE': 've', 'opt-in': 'guest' };

/** The map's kind for a kind of the evaluation. */
export const mapKindOf = (kind: BitKind | 'unknown'): MapKindId => RENAMED[kind as BitKind] ?? (kind as MapKindId);

export const findMapKind = (id: MapKindId): MapKind => MAP_KINDS.find((kind) => kind.id === id)!;
