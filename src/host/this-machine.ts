import { nativeStatus, openNative, readNativeCpuid } from '../native/index.js';
import { machineReaders } from './machine-readers.js';
import { found, type HostReaders, missing } from './readers.js';

/** Readers of the machine that this process runs on, through the addon where that is there. */
export function thisMachine(): HostReaders {
  const status = nativeStatus();
  const addon = status.available ? found(status.path ?? 'loaded') : missing('ENOADDON', status.reason ?? 'not built');
  return machineReaders({
    addon: () => addon,
    open: () => openNative(),
    cpuid: (leaf, subleaf) => {
      const values = readNativeCpuid(leaf, subleaf);
      return values ? found(values) : missing('ENOADDON', status.reason ?? 'not built');
    },
  });
}
