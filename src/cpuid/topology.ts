import type { Refusal } from './evaluate.js';
import type { CompiledRules } from './rules.js';

const EAX = 0;
const ECX = 2;
const SMT = 1;
const CORE = 2;
const LEVEL_MAX = 6;

const unrecognized = (rule: string): Refusal => ({ rule, details: 0, rcx: 0n });

/**
 * Checks the virtual CPUID(0x1F) and derives CPUID(0xB) from it, in `virtual` (helpers.c check_cpuid_1f). All zeros mean the
 * topology of the host, of `sampled`. What differs between modules is in the `topology` section of the document.
 */
export function checkTopology(
  topology: CompiledRules['topology'],
  virtual: Uint32Array,
  sampled: Uint32Array,
): Refusal | undefined {
  if (!topology) return undefined;
  const copy = (from: Uint32Array, source: number, target: number): void =>
    virtual.set(from.subarray(source * 4, source * 4 + 4), target * 4);
  const empty = (entry: number): boolean => virtual.subarray(entry * 4, entry * 4 + 4).every((v) => v === 0);
  /** 0xB.n as the CORE level with EAX, EBX and EDX of 0x1F entry `from`. */
  const core = (from: number, n: number, ecx: number): void => {
    copy(virtual, from, topology.xb[n]!);
    virtual[topology.xb[n]! * 4 + ECX] = ecx;
  };

  const native = empty(topology.x1f[0]!);
  let type = 0;
  let sawCore = false;
  let hasSmt = false;
  let last = topology.x1f[0]!;
  for (const [subleaf, entry] of topology.x1f.entries()) {
    if (native) {
      if (!empty(entry)) return unrecognized('module.mng-init.topology');
      copy(sampled, entry, entry);
    }
    const ecx = virtual[entry * 4 + ECX]!;
    const previous = type;
    type = (ecx >>> 8) & 0xff;
    if (type === 0) {
      if (subleaf === 0 || !sawCore) return unrecognized('module.mng-init.topology');
    } else {
      if (type <= previous || type >= LEVEL_MAX) return unrecognized('module.mng-init.topology');
      if (topology.strict && ((ecx & 0xff) !== subleaf || (type === SMT && subleaf !== 0))) {
        return unrecognized('module.mng-init.topology-sub-leaf');
      }
      if (type === SMT) {
        copy(virtual, entry, topology.xb[0]!);
        hasSmt = true;
      }
      if (type === CORE) sawCore = true;
      last = entry;
    }
    if (topology.derive === 'every-sub-leaf') core(entry, 1, ((ecx & ~0xff00) | (CORE << 8)) >>> 0);
  }
  if (topology.derive === 'last-level') {
    const level = hasSmt ? 1 : 0;
    core(last, level, (CORE << 8) | level);
    for (let n = level + 1; n <= 2; n++) {
      virtual.fill(0, topology.xb[n]! * 4 + EAX, topology.xb[n]! * 4 + 4);
      if (topology.numbered) virtual[topology.xb[n]! * 4 + ECX] = n;
    }
  }
  return undefined;
}
