import { recognise } from './messages.js';
import type { HostReaders } from './readers.js';

/** Kernels later than 6.16 (Documentation/ABI/testing/sysfs-devices-faux-tdx-host). */
export const MODULE_VERSION_FILE = '/sys/devices/faux/tdx_host/version';

/** `1.5.24`, of sysfs or else of the kernel's log; undefined where neither tells. */
export function readModuleVersion(readers: HostReaders): string | undefined {
  const version = readers.file(MODULE_VERSION_FILE);
  if (version.ok) return version.value;
  const log = readers.kernelLog();
  const line = log.ok ? recognise(log.value).findLast(({ message }) => message.id === 'module-version') : undefined;
  return line?.message.pattern.exec(line.line)?.[1];
}
