import { NativeCpuid } from '../../cpuid/index.js';
import { type XsaveComponent, xsaveCompacted, xsaveStandard } from '../../cpuid/xsave.js';
import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import type { Platform } from '../platform.js';
import { EMULATED, FEATURES, INDEXED_LEAVES, KVM_FEATURES } from './supported-features.js';

const EPT_VPID_CAP = '0x48c';
const EPT_5_LEVELS = 1n << 7n;
/** KVM_SUPPORTED_XCR0 without AMX, for which a process must ask (ARCH_REQ_XCOMP_GUEST_PERM). */
const XCR0 = 0x2ff;
const AMX_TILE = 1 << 24;

const signature = (text: string): number => new DataView(new TextEncoder().encode(text).buffer).getUint32(0, true);

/** KVM_GET_SUPPORTED_CPUID (cpuid.c __do_cpuid_func): every leaf up to the limits, those that KVM does not know as zeros. */
export function supportedCpuid(platform: Platform): CpuidEntry[] {
  const native = new NativeCpuid(platform.cpuid);
  const five = (BigInt(platform.msr[EPT_VPID_CAP] ?? 0) & EPT_5_LEVELS) !== 0n;
  const read = (leaf: number, index = 0): CpuidEntry => {
    const indexed = INDEXED_LEAVES.has(leaf);
    const [eax, ebx, ecx, edx] = native.read(leaf, indexed ? index : null);
    return { function: leaf, index, flags: indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0, eax, ebx, ecx, edx };
  };
  const make = new SupportedLeaves(read, read(0xd).eax & XCR0, five);
  const basic = Math.min(read(0).eax, 0x24);
  const extended = Math.min(read(0x8000_0000).eax, 0x8000_0022);
  const found: CpuidEntry[] = [];
  for (let leaf = 0; leaf <= basic; leaf++) found.push(...make.leaf(leaf));
  found.push(
    {
      ...read(0x4000_0000),
      eax: 0x4000_0001,
      ebx: signature('KVMK'),
      ecx: signature('VMKV'),
      edx: signature('M\0\0\0'),
    },
    { ...read(0x4000_0001), eax: KVM_FEATURES, ebx: 0, ecx: 0, edx: 0 },
  );
  for (let leaf = 0x8000_0000; leaf <= extended; leaf++) found.push(...make.leaf(leaf));
  return found;
}

type Read = (leaf: number, index?: number) => CpuidEntry;

/** Applies the bits that KVM supports to a native register. */
const supported = (entry: CpuidEntry): CpuidEntry => {
  const key = (register: string) => `${entry.function.toString(16)}.${entry.index}.${register}`;
  const result = { ...entry };
  for (const register of ['eax', 'ebx', 'ecx', 'edx'] as const) {
    const mask = FEATURES[key(register)];
    if (mask !== undefined) result[register] = ((entry[register] & mask) | (EMULATED[key(register)] ?? 0)) >>> 0;
  }
  return result;
};

const zero = (entry: CpuidEntry): CpuidEntry => ({ ...entry, eax: 0, ebx: 0, ecx: 0, edx: 0 });

class SupportedLeaves {
  constructor(
    private readonly read: Read,
    private readonly xcr0: number,
    private readonly ept5Levels: boolean,
  ) {}

  leaf(leaf: number): CpuidEntry[] {
    const { read } = this;
    const entry = read(leaf);
    switch (leaf) {
      case 0:
        return [{ ...entry, eax: Math.min(entry.eax, 0x24) }];
      case 1:
      case 0x8000_0001:
      case 0x8000_0007:
        return [supported(entry)];
      case 2:
      case 0x8000_0002:
      case 0x8000_0003:
      case 0x8000_0004:
      case 0x8000_0005:
      case 0x8000_0006:
        return [entry];
      case 4:
        return this.#caches();
      case 6:
        return [{ ...zero(entry), eax: 4 }];
      case 7:
        return [0, 1, 2].filter((index) => index <= entry.eax).map((index) => supported(this.#leaf7(index)));
      case 0xa:
        return [pmu(entry)];
      case 0xb:
      case 0x1f:
        return [{ ...zero(entry), edx: entry.edx }];
      case 0xd:
        return this.#xsave(entry);
      case 0x1d:
      case 0x1e:
        return this.#amx(entry);
      case 0x8000_0000:
        return [{ ...entry, eax: Math.min(entry.eax, 0x8000_0022) }];
      case 0x8000_0008:
        return [this.#widths(entry)];
      default:
        return [zero(entry)];
    }
  }

  #leaf7(index: number): CpuidEntry {
    const entry = this.read(7, index);
    return index === 0 ? { ...entry, eax: Math.min(entry.eax, 2) } : entry;
  }

  #caches(): CpuidEntry[] {
    const found = [this.read(4)];
    while ((found.at(-1)!.eax & 0x1f) !== 0) found.push(this.read(4, found.length));
    return found;
  }

  #xsave(entry: CpuidEntry): CpuidEntry[] {
    const components: XsaveComponent[] = Array.from({ length: 32 }, (_, n) => {
      const { eax: size, ebx: offset, ecx } = this.read(0xd, n);
      return { size, offset, align: (ecx & 2) !== 0 };
    });
    const size = xsaveStandard(components, this.xcr0);
    const second = supported(this.read(0xd, 1));
    const found = [
      { ...entry, eax: entry.eax & this.xcr0, ebx: size, ecx: size, edx: 0 },
      { ...second, ebx: xsaveCompacted(components, this.xcr0), ecx: 0, edx: 0 },
    ];
    for (let n = 2; n < 32; n++) if ((this.xcr0 >>> n) & 1) found.push({ ...this.read(0xd, n), edx: 0 });
    return found;
  }

  #amx(entry: CpuidEntry): CpuidEntry[] {
    if ((this.read(7).edx & AMX_TILE) === 0) return [zero(entry)];
    const last = entry.function === 0x1d ? entry.eax : 0;
    return Array.from({ length: last + 1 }, (_, index) => this.read(entry.function, index));
  }

  #widths(entry: CpuidEntry): CpuidEntry {
    const physical = entry.eax & 0xff;
    const guest = this.ept5Levels ? physical : Math.min(physical, 48);
    const linear = Math.max((entry.eax >>> 8) & 0xff, 48);
    return { ...supported(entry), eax: physical | (linear << 8) | (guest << 16), ecx: 0, edx: 0 };
  }
}

/** Architectural performance monitoring: version 2, at most eight general counters and three fixed ones. */
function pmu(entry: CpuidEntry): CpuidEntry {
  const version = Math.min(entry.eax & 0xff, 2);
  const general = Math.min((entry.eax >>> 8) & 0xff, 8);
  const fixed = Math.min(entry.edx & 0x1f, 3);
  const events = Math.min(entry.eax >>> 24, 8);
  const width = (entry.eax >>> 16) & 0xff;
  return {
    ...entry,
    eax: (version | (general << 8) | (width << 16) | (events << 24)) >>> 0,
    ecx: 0,
    edx: fixed | (entry.edx & 0x1fe0) | (version ? 1 << 15 : 0),
  };
}
