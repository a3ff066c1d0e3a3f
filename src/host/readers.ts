import type { KvmSystem } from '../kvm/system.js';

/** What reading something gave: the value, or the errno's name and a sentence. */
export type Reading<T> = { ok: true; value: T } | { ok: false; code: string; reason: string };

export interface CpuidRegisters {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/**
 * Everything that a check or a capture may look at. Checks get it as an argument, so each can be tested with any host;
 * `machineReaders` reads this machine, `modelReaders` a modelled one.
 */
export interface HostReaders {
  /** What is being looked at, for people: `this machine`, or the model with its profile. */
  readonly subject: string;
  /** Profile name when it is a model. */
  readonly profile?: string;
  /** `process.platform` and `process.arch` of the host. */
  readonly platform: string;
  readonly arch: string;
  /** A file of /proc or /sys, without the newline at its end. */
  file(path: string): Reading<string>;
  /** Whether this user may open `path` for reading and writing. */
  writable(path: string): Reading<true>;
  /** The kernel's log, one record a line, oldest first. */
  kernelLog(): Reading<string>;
  /** What the CPUID instruction gives on this processor. */
  cpuid(leaf: number, subleaf: number): Reading<CpuidRegisters>;
  /** A model-specific register of CPU 0. ENOENT: no msr driver. EIO: the processor has no such register. */
  msr(index: number): Reading<bigint>;
  /** The addon that issues the ioctls; the value says where it is. */
  addon(): Reading<string>;
  /** The KVM of this host, opened at the first call and kept until `close`. */
  kvm(): Reading<KvmSystem>;
  close(): void;
}

export const found = <T>(value: T): Reading<T> => ({ ok: true, value });

export const missing = (code: string, reason: string): Reading<never> => ({ ok: false, code, reason });
