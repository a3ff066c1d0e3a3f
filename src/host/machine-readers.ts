import { accessSync, closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import type { KvmSystem } from '../kvm/system.js';
import { type CpuidRegisters, found, type HostReaders, missing, type Reading } from './readers.js';

/** What the readers need from the addon; `nativeAccess` gives it, tests give their own. */
export interface NativeAccess {
  addon(): Reading<string>;
  cpuid(leaf: number, subleaf: number): Reading<CpuidRegisters>;
  open(): KvmSystem;
}

function attempt<T>(read: () => T): Reading<T> {
  try {
    return found(read());
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return missing(code ?? 'ERROR', message);
  }
}

/** The records of /dev/kmsg, without blocking for the next one. @throws the errno of open or read. */
function readKernelLog(): string {
  const fd = openSync('/dev/kmsg', constants.O_RDONLY | constants.O_NONBLOCK);
  const lines: string[] = [];
  const record = Buffer.alloc(8192);
  try {
    for (;;) {
      let length: number;
      try {
        length = readSync(fd, record);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'EPIPE') continue; // overwritten while we read: the next read goes on behind it
        if (code === 'EAGAIN') return lines.join('\n');
        throw error;
      }
      if (length === 0) return lines.join('\n');
      // "priority,sequence,microseconds,flags;text", then lines of " KEY=value".
      const text = record.toString('utf8', 0, length);
      lines.push(text.slice(text.indexOf(';') + 1).split('\n', 1)[0]!);
    }
  } finally {
    closeSync(fd);
  }
}

function readMsr(index: number): bigint {
  const fd = openSync('/dev/cpu/0/msr', 'r');
  try {
    const value = Buffer.alloc(8);
    readSync(fd, value, 0, 8, index);
    return value.readBigUInt64LE();
  } finally {
    closeSync(fd);
  }
}

/** Reads the machine that this process runs on. Nothing is changed, and nothing is kept open but KVM until `close`. */
export function machineReaders(native: NativeAccess): HostReaders {
  let log: Reading<string> | undefined;
  let system: Reading<KvmSystem> | undefined;
  return {
    subject: 'this machine',
    platform: process.platform,
    arch: process.arch,
    file: (path) => attempt(() => readFileSync(path, 'utf8').trimEnd()),
    writable: (path) =>
      attempt(() => {
        accessSync(path, constants.R_OK | constants.W_OK);
        return true as const;
      }),
    kernelLog: () => {
      log ??= attempt(readKernelLog);
      return log;
    },
    cpuid: (leaf, subleaf) => native.cpuid(leaf, subleaf),
    msr: (index) => attempt(() => readMsr(index)),
    addon: () => native.addon(),
    kvm: () => {
      if (system?.ok && system.value.closed) system = undefined;
      if (system === undefined) {
        const addon = native.addon();
        system = addon.ok ? attempt(() => native.open()) : missing('ENOADDON', 'no addon to ask with');
      }
      return system;
    },
    close: () => {
      if (system?.ok) system.value.close();
      system = undefined;
    },
  };
}
