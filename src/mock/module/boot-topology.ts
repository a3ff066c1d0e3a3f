import type { Host } from '../../cpuid/index.js';
import type { BootRefusal } from './boot-status.js';

const SMT = 1;
const CORE = 2;
const LEVEL_MAX = 6;

const levelType = (ecx: number): number => (ecx >>> 8) & 0xff;
const shiftCount = (eax: number): number => eax & 0x1f;

/**
 * The native CPUID(0x1F), sub-leaf by sub-leaf (tdh_sys_init.c check_cpuid_configurations): level types ascend, CORE is
 * among them, and all processors of a package share its L3 cache, because the module flushes caches by package.
 */
export class TopologyScan {
  #previous = 0;
  #sawCore = false;
  #shift = 0;
  #smtShift = 0;

  constructor(readonly host: Host) {}

  visit(subleaf: number, [eax = 0, , ecx = 0]: Uint32Array): BootRefusal | undefined {
    const previous = this.#previous;
    const type = levelType(ecx);
    this.#previous = type;
    if (type !== 0) {
      if (type <= previous || type >= LEVEL_MAX) return { rule: 'module.sys-init.topology' };
      this.#shift = shiftCount(eax);
      if (type === SMT) this.#smtShift = this.#shift;
      if (type === CORE) this.#sawCore = true;
      return undefined;
    }
    if (subleaf === 0 || !this.#sawCore) return { rule: 'module.sys-init.topology-core' };
    return previous === 0 ? undefined : this.#endOfLevels();
  }

  #endOfLevels(): BootRefusal | undefined {
    if (this.#shift < this.#smtShift) return { rule: 'module.sys-init.topology-shift' };
    const l3 = this.host.rules.find(4, 3);
    const eax = l3 === undefined ? 0 : this.host.native[l3 * 4]!;
    const sharing = (eax >>> 14) & 0xfff;
    // The highest id that shares the cache has as many bits as the ids of a package.
    if (sharing >>> ((this.#shift - 1) & 31) !== 1) return { rule: 'module.sys-init.wbinvd-scope' };
    return undefined;
  }
}
