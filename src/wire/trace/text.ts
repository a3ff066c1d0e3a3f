import type { RequestRecord, TraceRule } from './record.js';

const MAX_LIST = 80;

/** A value in a line; a long list is only counted, JSON has it whole. */
function show(value: unknown): string {
  if (Array.isArray(value)) {
    const text = `[${value.map(show).join(', ')}]`;
    return text.length > MAX_LIST ? `[${value.length} entries]` : text;
  }
  if (typeof value === 'object' && value !== null)
    return `{${Object.entries(value)
      .map(([key, inner]) => `${key}=${show(inner)}`)
      .join(' ')}}`;
  return String(value);
}

const showAll = (values: Record<string, unknown>): string =>
  Object.entries(values)
    .map(([key, value]) => `${key}=${show(value)}`)
    .join(' ');

const showRule = (what: string, rule: TraceRule | undefined): string[] =>
  rule ? [`             ${what} ${rule.id}: ${rule.what}. ${rule.fix}. [${rule.source}]`] : [];

/** A record as lines for people: the call as strace has it, and below a refused one the rule that refused it. */
export function traceText(record: RequestRecord): string {
  const { time, tid, object, request, args, result, errno, made, out, hwError, rule, moduleRule } = record;
  const result_ = errno ? `-1 ${errno}` : String(result);
  const parts = [
    `${time.toFixed(3).padStart(11)} ${tid}`,
    object.padEnd(10),
    request,
    showAll(args),
    `= ${made ?? result_}`,
    hwError && `hw_error ${hwError}`,
    out && `(${showAll(out)})`,
  ];
  const line = parts.filter(Boolean).join(' ');
  // KVM's rule says no more than "the module refused" where there is one of the module's.
  const rules = moduleRule ? showRule('module rule', moduleRule) : showRule('rule', rule);
  return [line, ...rules].join('\n');
}
