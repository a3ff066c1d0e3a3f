import type { CpuidEntry } from '../../kvm/cpuid.js';
import { type Struct, struct, u32 } from './struct.js';

export const kvmCpuidEntry2 = struct('kvm_cpuid_entry2', 40, {
  function: u32(0),
  index: u32(4),
  flags: u32(8),
  eax: u32(12),
  ebx: u32(16),
  ecx: u32(20),
  edx: u32(24),
});

/** Its entries are behind it. */
export const kvmCpuid2 = struct('kvm_cpuid2', 8, { nent: u32(0), padding: u32(4) });

/** As many whole elements as `data` has. */
export function decodeArray<T>(
  element: Pick<Struct<never>, 'size'> & { decode(data: Uint8Array): T },
  data: Uint8Array,
) {
  const { size } = element;
  const count = Math.floor(data.length / size);
  return Array.from({ length: count }, (_, i): T => element.decode(data.subarray(i * size, (i + 1) * size)));
}

export const decodeEntries = (data: Uint8Array): CpuidEntry[] => decodeArray(kvmCpuidEntry2, data);

export function encodeEntries(entries: readonly CpuidEntry[]): Uint8Array {
  const { size } = kvmCpuidEntry2;
  const data = new Uint8Array(entries.length * size);
  const view = new DataView(data.buffer);
  for (const [i, entry] of entries.entries()) kvmCpuidEntry2.writeTo(view, i * size, entry);
  return data;
}
