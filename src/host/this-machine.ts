import { nativeStatus, openNative, readNativeCpuid } from '../native/index.js';
import { machineReaders } from './machine-readers.js';
import { found, type HostReaders, missing } from './readers.js';

/** Readers of the machine that this process runs on, through the addon where that is there. */
export function thisMachine(): HostReaders {
  const { path, reason } = nativeStatus();
  const addon = path === undefined ? missing('ENOADDON', reason ?? 'the addon is not there') : found(path);
  return machineReaders({
    addon: () => addon,
    open: () => openNative(),
    cpuid: (leaf, subleaf) => {
      const values = readNativeCpuid(leaf, subleaf);
      return values === undefined ? missing('ENOADDON', 'no addon to ask with') : found(values);
    },
  });
}
