import { align } from './align.js';
import { normalise } from './normalise.js';
import type { RequestRecord } from './record.js';

/** A request that both traces have, with what differs in it. */
export interface TraceChange {
  /** What it differs in: `args.attributes`, `result`, `rule`. */
  fields: { field: string; a: unknown; b: unknown }[];
  a: RequestRecord;
  b: RequestRecord;
}

/** Requests in the order in which they are in the traces. */
export type TraceDifference =
  | { kind: 'only-a'; record: RequestRecord }
  | { kind: 'only-b'; record: RequestRecord }
  | ({ kind: 'changed' } & TraceChange);

export interface TraceDiff {
  /** Requests that were compared. */
  a: number;
  b: number;
  /** Requests that mean the same in both. */
  same: number;
  differences: TraceDifference[];
}

export interface TraceDiffOptions {
  /** Compare requests that only ask, too (KVM_CHECK_EXTENSION, KVM_GET_*); by default those that change something. */
  questions?: boolean;
}

const QUESTION = /^KVM_(GET_|CHECK_EXTENSION|HAS_|TDX_GET_|TDX_CAPABILITIES)/;

/**
 * Compares what two programs asked of the model, by meaning: objects by their role, addresses of a program's memory by
 * what they are for, times, process ids and the order of threads among each other left out.
 */
export function diffTraces(
  a: readonly RequestRecord[],
  b: readonly RequestRecord[],
  { questions = false }: TraceDiffOptions = {},
): TraceDiff {
  const relevant = (records: readonly RequestRecord[]) =>
    normalise(records).filter(({ record }) => questions || !QUESTION.test(record.request));
  const [left, right] = [relevant(a), relevant(b)];
  const differences: TraceDifference[] = [];
  let same = 0;
  for (const pair of align(left, right, ({ key }) => key)) {
    if (!pair.b) differences.push({ kind: 'only-a', record: pair.a!.record });
    else if (!pair.a) differences.push({ kind: 'only-b', record: pair.b.record });
    else {
      const fields = changedFields(pair.a.meaning, pair.b.meaning);
      if (fields.length === 0) same++;
      else differences.push({ kind: 'changed', a: pair.a.record, b: pair.b.record, fields });
    }
  }
  return { a: left.length, b: right.length, same, differences };
}

/** The leaves in which two values differ, by their paths. */
function changedFields(a: unknown, b: unknown, path = ''): TraceChange['fields'] {
  if (isObject(a) && isObject(b)) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
    return keys.flatMap((key) => changedFields(a[key], b[key], path ? `${path}.${key}` : key));
  }
  return JSON.stringify(a) === JSON.stringify(b) ? [] : [{ field: path, a, b }];
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
