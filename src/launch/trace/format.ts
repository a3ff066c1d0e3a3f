import { factsLine } from './exit-text.js';
import type { TraceRecord } from './record.js';

export type TraceFormat = 'text' | 'json';

/** One line of text, without its end: time, vCPU, RIP, what, operands, status and results. */
export function traceLine({ atMs, vcpu, rip, name, facts, status, results, rule }: TraceRecord): string {
  const time = atMs.toFixed(3).padStart(10);
  const where = `${vcpu === undefined ? '' : `vcpu ${vcpu}`}`.padEnd(7);
  const answers = [status, results && factsLine(results), rule && `[${rule}]`].filter(Boolean).join(', ');
  const operands = factsLine(facts);
  return `${time} ms  ${where}  ${(rip ?? '').padEnd(10)}  ${name}${operands ? `  ${operands}` : ''}${answers ? `  -> ${answers}` : ''}`;
}

/** A record as one line of a file, with its end. JSON is one object a line. */
export const formatTrace = (record: TraceRecord, format: TraceFormat): string =>
  `${format === 'json' ? JSON.stringify({ ...record, atMs: Math.round(record.atMs * 1000) / 1000 }) : traceLine(record)}\n`;
