import type { HostReaders, Reading } from './readers.js';

export type CheckStatus = 'pass' | 'fail' | 'warn' | 'skip';

export type CheckCategory = 'machine' | 'processor' | 'firmware' | 'kernel' | 'module' | 'kvm';

/** What a check found. */
export interface Outcome {
  status: CheckStatus;
  /** What was seen, one line. */
  detail: string;
  /** More of what was seen, a line each. */
  notes?: readonly string[];
  /** Replaces the check's own fix where the cause is known better. */
  fix?: string;
}

/** One question about a host, as data. */
export interface Check {
  /** Stable: `kvm.vm-types`. */
  readonly id: string;
  readonly name: string;
  readonly category: CheckCategory;
  /** What to do when it fails, one sentence. */
  readonly fix: string;
  /** Where the requirement can be read. */
  readonly source: string;
  run(readers: HostReaders): Outcome;
}

/** A check's answer; `fix` only where something is to be done. */
export interface CheckResult extends Outcome {
  id: string;
  name: string;
  category: CheckCategory;
}

export const pass = (detail: string, notes?: readonly string[]): Outcome => ({
  status: 'pass',
  detail,
  ...(notes && { notes }),
});

export const fail = (detail: string, fix?: string, notes?: readonly string[]): Outcome => ({
  status: 'fail',
  detail,
  ...(fix && { fix }),
  ...(notes && { notes }),
});

export const warn = (detail: string, fix?: string): Outcome => ({ status: 'warn', detail, ...(fix && { fix }) });

export const skip = (detail: string): Outcome => ({ status: 'skip', detail });

/** A reading's code for what a model has nothing of. */
export const NOT_MODELLED = 'ENOTMODELLED';

class NotModelled extends Error {}

/** The readers of a model as a check gets them: what is not modelled ends the check there and then, as skipped. */
function orSkip(readers: HostReaders): HostReaders {
  const demand = <T>(reading: Reading<T>): Reading<T> => {
    if (!reading.ok && reading.code === NOT_MODELLED) throw new NotModelled(reading.reason);
    return reading;
  };
  return {
    ...readers,
    file: (path) => demand(readers.file(path)),
    writable: (path) => demand(readers.writable(path)),
    kernelLog: () => demand(readers.kernelLog()),
    msr: (index) => demand(readers.msr(index)),
    addon: () => demand(readers.addon()),
  };
}

/** Runs one check. A check that throws is a failed check, not a failed report. */
export function runCheck(check: Check, readers: HostReaders): CheckResult {
  let outcome: Outcome;
  try {
    outcome = check.run(readers.profile === undefined ? readers : orSkip(readers));
  } catch (error) {
    if (error instanceof NotModelled) outcome = skip(error.message);
    else outcome = fail(error instanceof Error ? error.message : String(error));
  }
  const { id, name, category } = check;
  const { fix, ...seen } = outcome;
  const wanted = outcome.status === 'fail' || outcome.status === 'warn';
  return { id, name, category, ...seen, ...(wanted && { fix: fix ?? check.fix }) };
}
