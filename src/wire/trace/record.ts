import { errnoName } from '../../kvm/errno.js';
import { RULES, type RuleId } from '../../rulebook/index.js';
import type { WireObject } from '../objects.js';
import type { CallMessage, Hello } from '../protocol.js';
import { requestOf } from '../requests/ioctl.js';
import { requestName } from '../requests/names.js';
import type { Call, Description } from '../requests/request.js';
import { capabilityName } from '../requests/vm.js';
import type { Served } from '../serve.js';

/** A rule that refused a request. */
export interface TraceRule {
  id: string;
  what: string;
  fix: string;
  source: string;
}

/** One call of a program, decoded. Numbers of 64 bits are `0x...`, bytes are hexadecimal. */
export interface RequestRecord {
  /** Milliseconds since the trace began, and how long the call took. */
  time: number;
  duration: number;
  pid: number;
  tid: number;
  /** `kvm`, `vm1`, `vm1/vcpu0`, `vm1/memfd1`. */
  object: string;
  request: string;
  args: Record<string, unknown>;
  /** What the system call returned: -1 with `errno`. */
  result: number;
  errno?: string;
  /** The descriptor that it made. */
  made?: string;
  /** What it gave beside its result. */
  out?: Record<string, unknown>;
  /** kvm_tdx_cmd.hw_error in words. */
  hwError?: string;
  /** KVM's rule, and that of the TDX module behind it where there is one. */
  rule?: TraceRule;
  moduleRule?: TraceRule;
}

/** Values as JSON has them. */
export function toTraceValue(value: unknown): unknown {
  if (typeof value === 'bigint') return `0x${value.toString(16)}`;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(toTraceValue);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toTraceValue(inner)]));
}

const fields = (value: Record<string, unknown>): Record<string, unknown> =>
  toTraceValue(value) as Record<string, unknown>;

const ruleOf = (id: string | undefined): TraceRule | undefined => {
  const rule = id === undefined ? undefined : RULES[id as RuleId];
  return rule && { id: rule.id, what: rule.what, fix: rule.fix, source: rule.source };
};

/** A call in words: its name and its arguments, as far as they can be read. */
export function describeCall(object: WireObject | undefined, message: CallMessage, call: Call): Required<Description> {
  if (message.operation !== 'ioctl') return describeOperation(message);
  const request = object && requestOf(object, message.request);
  const name = request?.name ?? requestName(message.request);
  if (!request) return { name, args: { arg: message.arg } };
  try {
    if (request.describe) return { name, ...request.describe(object, call) };
    if (request.struct) return { name, args: call.read(request.struct) };
  } catch {
    return { name, args: { arg: message.arg, fault: 'not mapped' } };
  }
  return { name, args: request.argument ? { [request.argument]: numberOf(request.argument, message.arg) } : {} };
}

const numberOf = (argument: string, value: bigint): unknown =>
  argument === 'capability' ? capabilityName(Number(value)) : small(value);

/** Ids, counts and frequencies read better in decimal. */
const small = (value: bigint): number | bigint => (value < 1n << 32n ? Number(value) : value);

function describeOperation({ operation, operands: [a, b, c, d] }: CallMessage): Required<Description> {
  if (operation === 'fallocate') return { name: 'fallocate', args: { mode: Number(a), offset: b, length: c } };
  return { name: 'mmap', args: { length: a, prot: Number(b), flags: Number(c), offset: d } };
}

/** What a finished call gave beside its result. */
function outcomeOf(object: WireObject | undefined, message: CallMessage, call: Call): Record<string, unknown> {
  if (!object || message.operation !== 'ioctl') return {};
  try {
    return requestOf(object, message.request)?.outcome?.(object, call) ?? {};
  } catch {
    return {};
  }
}

/** Turns calls into records, and gives the objects names that people can follow. */
export class Recorder {
  readonly #names = new Map<bigint, string>();
  readonly #began = performance.now();
  readonly #counts = new Map<string, number>();

  constructor(private readonly emit: (record: RequestRecord) => void) {}

  /** Begins the record of a call; the result ends it. */
  begin(
    message: CallMessage,
    call: Call,
    { pid, tid }: Hello,
    object: WireObject | undefined,
  ): (served: Served) => void {
    const started = performance.now();
    const { name, args } = describeCall(object, message, call);
    const path = this.#names.get(message.object) ?? (object ? 'kvm' : 'closed');
    const shown = fields(args);
    return (served) => {
      const now = performance.now();
      const result = Number(served.message.result);
      const out = outcomeOf(object, message, call);
      const { hwError, ...rest } = out;
      const made = served.made && this.#nameObject(message.newObject, served.made, path);
      this.emit({
        time: round(started - this.#began),
        duration: round(now - started),
        pid,
        tid,
        object: path,
        request: name,
        args: shown,
        result: Math.max(result, -1),
        ...(result < 0 && { errno: errnoName(-result) }),
        ...(made !== undefined && { made }),
        ...(typeof hwError === 'string' && { hwError }),
        ...(Object.keys(rest).length > 0 && { out: fields(rest) }),
        ...optional('rule', ruleOf(served.refusal?.rule)),
        ...optional('moduleRule', ruleOf(served.refusal?.moduleRule)),
      });
    };
  }

  #nameObject(id: bigint, made: WireObject, parent: string): string {
    const name = made.kind === 'vm' ? this.#next('vm') : `${parent}/${this.#child(made, parent)}`;
    this.#names.set(id, name);
    return name;
  }

  #child(made: WireObject, parent: string): string {
    return made.kind === 'vcpu' ? `vcpu${made.kernel.id}` : this.#next('memfd', parent);
  }

  #next(kind: string, parent = ''): string {
    const count = (this.#counts.get(parent + kind) ?? 0) + 1;
    this.#counts.set(parent + kind, count);
    return `${kind}${count}`;
  }
}

const round = (milliseconds: number): number => Math.round(milliseconds * 1000) / 1000;

const optional = <K extends string, T>(key: K, value: T | undefined): { [P in K]?: T } =>
  (value === undefined ? {} : { [key]: value }) as { [P in K]?: T };
