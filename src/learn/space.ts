import { KVM_CAP, KVM_X86_TDX_VM } from '../kvm/constants.js';
import { KvmError } from '../kvm/errors.js';
import type { KvmSystem } from '../kvm/system.js';
import type { TdxCapabilities } from '../kvm/vm.js';
import { gatherHostFacts } from '../td/host-facts.js';
import { TSC_KHZ_RANGE, TSC_UNIT_KHZ } from '../td/tsc.js';
import type { BitGroups } from './groups.js';
import { GPAW_BITS, GPAW_LEAF, type Row, type Settings } from './settings.js';

/** What can be varied on a host. Filled in as the host answers. */
export interface Space {
  capabilities: TdxCapabilities;
  rows: readonly Row[];
  /** Configurable bits, EAX to EDX of each row, without the GPAW. */
  masks: Uint32Array;
  /** Bits of `masks` that are refused whatever the others are. */
  refusedBits: Uint32Array;
  /** Registers that take 0 or one value only. */
  choices: { slot: number; value: number }[];
  /** Bits outside `masks` that KVM itself refuses, without asking the module. */
  denied: { slot: number; bit: number }[];
  exclusions: Exclusion[];
  xfam: BitGroups;
  attributes: BitGroups;
  /** GPAW 52 is accepted. */
  wide: boolean;
  tsc: { settable: boolean; hostKhz: number; min: number; max: number };
  /** 0: KVM_CAP_MAX_VCPUS cannot be set. */
  vcpuLimit: number;
  /** Positions of CPUID(0x1F) in `rows`, by sub-leaf, where a topology can be configured. */
  topology: number[];
}

/** Two settings that are refused together, though each is accepted. */
export interface Exclusion {
  first: Literal;
  second: Literal;
  refused: string;
}

/** One bit of the settings and its value. */
export interface Literal {
  field: 'attributes' | 'xfam' | 'gpaw' | 'tsc' | 'max_vcpus' | 'config';
  /** Of the field; of `config`, 32 a register. */
  bit: number;
  value: boolean;
}

const NONE: BitGroups = { groups: [], refused: [], exclusive: [], full: 0n };

/** The highest CPUID level types and sub-leaves that a topology needs: CPUID(0x1F).ECX[15:8] is 1 to 5. */
const LEVEL_TYPE_BITS = 0x700;

/** What an open system offers, before anything has been tried. Takes no KeyID. */
export function openSpace(system: KvmSystem): Space {
  const { capabilities, tscKhz, maxVcpusSettable, maxVcpus } = gatherHostFacts(system);
  const rows = capabilities.cpuid.map(({ function: leaf, index }) => ({ leaf, index }));
  const masks = Uint32Array.from(capabilities.cpuid.flatMap(({ eax, ebx, ecx, edx }) => [eax, ebx, ecx, edx]));
  rows.forEach(({ leaf }, i) => {
    if (leaf === GPAW_LEAF) masks[i * 4]! &= ~GPAW_BITS;
  });
  return {
    capabilities,
    rows,
    masks,
    refusedBits: new Uint32Array(masks.length),
    choices: [],
    denied: [],
    exclusions: [],
    xfam: NONE,
    attributes: NONE,
    wide: false,
    tsc: {
      settable: takesTsc(system, tscKhz),
      hostKhz: tscKhz,
      min: TSC_KHZ_RANGE.min / TSC_UNIT_KHZ,
      max: TSC_KHZ_RANGE.max / TSC_UNIT_KHZ,
    },
    vcpuLimit: maxVcpusSettable ? maxVcpus : 0,
    topology: topologyRows(rows, masks),
  };
}

/** Whether KVM scales the TSC at all: another frequency than the host's is taken. */
function takesTsc(system: KvmSystem, hostKhz: number): boolean {
  const vm = system.createVm(KVM_X86_TDX_VM);
  try {
    if (vm.checkExtension(KVM_CAP.TSC_CONTROL) === 0 && vm.checkExtension(KVM_CAP.VM_TSC_CONTROL) === 0) return false;
    vm.setTscKhz(hostKhz === TSC_KHZ_RANGE.min ? TSC_KHZ_RANGE.min * 2 : TSC_KHZ_RANGE.min);
    return true;
  } catch (error) {
    if (error instanceof KvmError) return false;
    throw error;
  } finally {
    vm.close();
  }
}

function topologyRows(rows: readonly Row[], masks: Uint32Array): number[] {
  const found: number[] = [];
  for (;;) {
    const at = rows.findIndex(({ leaf, index }) => leaf === 0x1f && index === found.length);
    if (at < 0 || (masks[at * 4 + 2]! & LEVEL_TYPE_BITS) !== LEVEL_TYPE_BITS) return found;
    found.push(at);
  }
}

/** No attribute, no XFAM beyond what KVM sets, GPAW 48, no CPUID bit. */
export const plainSettings = ({ masks }: Space): Settings => ({
  attributes: 0n,
  xfam: 0n,
  gpaw: 48,
  tsc: 0,
  maxVcpus: 0,
  cpuid: new Uint32Array(masks.length),
});

/** Bits of a set, lowest first. */
export function bitsOf(set: bigint): number[] {
  const bits: number[] = [];
  for (let n = 0; set >> BigInt(n) !== 0n; n++) if ((set >> BigInt(n)) & 1n) bits.push(n);
  return bits;
}

/** CPUID bits that may be varied, as numbers `register * 32 + bit`; leaf 0x1F, whose values must fit together, is apart. */
export function configBits({ masks, refusedBits, rows }: Space): number[] {
  const bits: number[] = [];
  masks.forEach((mask, slot) => {
    if (rows[slot >> 2]!.leaf === 0x1f) return;
    for (let bit = 0; bit < 32; bit++) if (((mask & ~refusedBits[slot]!) >>> bit) & 1) bits.push(slot * 32 + bit);
  });
  return bits;
}

export const setBit = (registers: Uint32Array, n: number, value = true): void => {
  const mask = (1 << (n & 31)) >>> 0;
  registers[n >> 5] = value ? registers[n >> 5]! | mask : registers[n >> 5]! & ~mask;
};
export const hasBit = (registers: Uint32Array, n: number): boolean => ((registers[n >> 5]! >>> (n & 31)) & 1) === 1;
