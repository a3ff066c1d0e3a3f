import type { Registers } from '../cpuid/index.js';
import type { FormulaName } from './formulas.js';

/** How a bit of a guest's CPUID came about on the host that was learnt from. */
export type LearntKind =
  /** Always 0, always 1, and not to be configured. */
  | 'fixed0'
  | 'fixed1'
  /** As configured, where `when` holds; `otherwise` (or 0) where it does not. */
  | 'configured'
  /** 1 where all of some XFAM bits are set; the same for attributes. */
  | 'xfam'
  | 'attribute'
  /** Configurable, and stays 0: the processor lacks it, or something that it needs cannot be set here. */
  | 'not-native'
  /** Configurable, and keeps `value` whatever is asked for. */
  | 'no-effect'
  /** Keeps `value`; only that, or 0, may be asked for. */
  | 'host-value'
  /** Follows other settings: `when`, `value` or `formula`. */
  | 'calculated'
  /** Configurable, and never set: a topology has no use for it. */
  | 'untried'
  /** Changes with `depends`, in a way that was not found. */
  | 'unknown';

/** Bits of one leaf that come about alike. */
export interface LearntRule {
  kind: LearntKind;
  /** Masks. */
  bits: Registers;
  /** An expression in the language of the rules documents over the TD's configuration. */
  when?: string;
  otherwise?: 1;
  /** An expression: the register, of which `bits` are taken. */
  value?: string;
  formula?: FormulaName;
  /** What an unknown or calculated value changes with. */
  depends?: string[];
}

export interface LearntEntry {
  leaf: string;
  /** Left out: the sub-leaf is not significant. */
  subleaf?: string;
  rules: LearntRule[];
}

export interface LearntGroup {
  /** Set together or not at all. */
  bits: number[];
  /** Bits of other groups that must be set too. */
  needs?: number[];
}

/** What may be set on the host. */
export interface LearntSettings {
  attributes: { offered: string; groups: LearntGroup[]; refused?: number[] };
  xfam: { offered: string; groups: LearntGroup[]; refused?: number[] };
  /** Widths of guest physical addresses that are accepted, bits. */
  gpaw: number[];
  /** kHz; `min` and `max` where KVM lets it be set. */
  tsc: { host: number; min?: number; max?: number };
  /** The most that KVM_CAP_MAX_VCPUS takes, where it can be set. */
  maxVcpus?: number;
  /** Configurable bits (KVM_TDX_CAPABILITIES). */
  cpuid: { leaf: string; index: number; bits: Registers }[];
  /** Sub-leaves of CPUID(0x1F) for a topology of the TD's own. */
  topologyLevels?: number;
}

/** What is refused, though each part of it is offered. */
export interface LearntExclusion {
  /** Conditions that are refused together, as expressions. */
  all: string[];
  /** errno, and the module's status and operand where KVM gives them. */
  refused: string;
}

/** The rules of one host, learnt from what its TDs show (schema/learnt-rules.schema.json). */
export interface LearntDocument {
  $schema?: string;
  known: 'learnt';
  format: 1;
  /** Which host, in words. */
  source: string;
  /** Version of its TDX module, where somebody told. */
  module?: string;
  settings: LearntSettings;
  exclusions: LearntExclusion[];
  /** CPUID bits that KVM denies to TDs without asking the module. */
  denied: string[];
  cpuid: LearntEntry[];
  /** XSAVE components that the formulas use: [size, offset, 1 if aligned in the compacted format]. */
  xsave: Record<string, [number, number, number]>;
  /** What it took: TDs that were made, and those that were refused. */
  experiments: { accepted: number; refused: number };
}
