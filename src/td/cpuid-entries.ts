import type { CpuidRegister } from '../cpuid/names.js';
import type { CpuidEntry } from '../kvm/cpuid.js';

export type RegisterValues = Readonly<Record<CpuidRegister, number>>;

/** The entry of a list for (leaf, sub-leaf), whatever its flags: KVM_TDX_CAPABILITIES gives flags 0 to indexed leaves too. */
export const entryAt = <T extends Pick<CpuidEntry, 'function' | 'index'>>(
  entries: readonly T[],
  leaf: number,
  subleaf: number,
): T | undefined => entries.find((entry) => entry.function === leaf && entry.index === subleaf);

/** Replaces the bits of `mask` in `value` with those of `bits`. All unsigned 32-bit. */
export const withBits = (value: number, mask: number, bits: number): number => ((value & ~mask) | (bits & mask)) >>> 0;

/** The field `high:low` of a register. */
export const fieldOf = (value: number, high: number, low: number): number =>
  Math.floor(value / 2 ** low) % 2 ** (high - low + 1);

/** GPAW in CPUID(0x80000008).EAX[23:16]: KVM's interface to the guest physical address width. */
export const GPAW_MASK = 0x00ff_0000;
export const gpawOf = (eax: number): number => fieldOf(eax, 23, 16);
export const withGpaw = (eax: number, gpaw: number): number => withBits(eax, GPAW_MASK, gpaw << 16);
