import type { BitKind } from '../origin.js';

/** How the map shows one kind of bit. */
export interface MapKind {
  readonly id: string;
  /** In each cell: nobody has to tell colours apart. */
  readonly letter: string;
  readonly label: string;
  readonly meaning: string;
  /** Fill of a bit that is 1, on light and on dark: the Okabe-Ito palette, its dark half darkened for white letters. */
  readonly light: string;
  readonly dark: string;
  /** The same colour of the 256 that terminals have. */
  readonly terminal: number;
}

// Neighbours in the table differ in lightness too, which every kind of colour vision sees.
export const MAP_KINDS = [
  {
    id: 'fixed',
    letter: 'F',
    label: 'fixed',
    meaning: 'the same in every TD of this module version',
    light: '#a9a9a4',
    dark: '#6a6d70',
    terminal: 248,
  },
  {
    id: 'native',
    letter: 'N',
    label: 'native',
    meaning: 'as the processor has it',
    light: '#7f93a8',
    dark: '#8fa5bb',
    terminal: 109,
  },
  {
    id: 'configured',
    letter: 'C',
    label: 'configured',
    meaning: 'as CPUID_CONFIG of the configuration says',
    light: '#0065a3',
    dark: '#2b7fc2',
    terminal: 32,
  },
  {
    id: 'allowed',
    letter: 'A',
    label: 'allowed',
    meaning: 'as CPUID_CONFIG says, where the processor has it',
    light: '#56b4e9',
    dark: '#7cc8f5',
    terminal: 74,
  },
  {
    id: 'xfam',
    letter: 'X',
    label: 'XFAM-dependent',
    meaning: 'there only with certain bits of XFAM, or calculated of just these',
    light: '#e69f00',
    dark: '#d99a14',
    terminal: 178,
  },
  {
    id: 'attribute',
    letter: 'T',
    label: 'attribute-dependent',
    meaning: 'there only with certain bits of ATTRIBUTES, or just these',
    light: '#f0e442',
    dark: '#e6dc5a',
    terminal: 185,
  },
  {
    id: 'cpuid',
    letter: 'P',
    label: 'follows CPUID',
    meaning: 'there only with another CPUID bit of the TD',
    light: '#b89b6a',
    dark: '#a1875a',
    terminal: 137,
  },
  {
    id: 'calculated',
    letter: 'K',
    label: 'calculated',
    meaning: 'by the module, of the configuration or the processor',
    light: '#009e73',
    dark: '#1fa57e',
    terminal: 36,
  },
  {
    id: 'dynamic',
    letter: 'D',
    label: 'dynamic',
    meaning: 'with the state of the vCPU that executes CPUID, such as CR4 or its APIC id',
    light: '#cc79a7',
    dark: '#d98fb8',
    terminal: 175,
  },
  {
    id: 've',
    letter: 'V',
    label: '#VE',
    meaning: "CPUID gives a #VE: the guest's handler makes up a value",
    light: '#d55e00',
    dark: '#e0762b',
    terminal: 166,
  },
  {
    id: 'guest',
    letter: 'G',
    label: 'guest decides',
    meaning: '#VE until the guest opts in to a value (TD_CTLS and its like)',
    light: '#8f7fc0',
    dark: '#a294d6',
    terminal: 140,
  },
  {
    id: 'unknown',
    letter: '?',
    label: 'unknown',
    meaning: 'there are no rules for the TDX module',
    light: '#d8d8d8',
    dark: '#4a4d50',
    terminal: 250,
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
