import type { HostReaders, Reading } from './readers.js';
import { found } from './readers.js';

export interface CpuInfo {
  vendor: string;
  model: string;
  flags: ReadonlySet<string>;
}

/** The first processor of /proc/cpuinfo. */
export function readCpuInfo(readers: HostReaders): Reading<CpuInfo> {
  const text = readers.file('/proc/cpuinfo');
  if (!text.ok) return text;
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, 'm').exec(text.value)?.[1]?.trim() ?? '';
  return found({
    vendor: field('vendor_id'),
    model: field('model name'),
    flags: new Set(field('flags').split(/\s+/).filter(Boolean)),
  });
}

export const INTEL = 'GenuineIntel';

/** True unless the processor is known to be another vendor's: then the questions about Intel's registers are idle. */
export function maybeIntel(readers: HostReaders): boolean {
  const info = readCpuInfo(readers);
  return !info.ok || info.value.vendor === '' || info.value.vendor === INTEL;
}
