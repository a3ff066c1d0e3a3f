import type { RequestRecord } from './record.js';

/** A record, what it means, and what makes it comparable to one of another trace. */
export interface Normalised {
  record: RequestRecord;
  /** Object, request and what it is about: a slot, a capability, a guest address. */
  key: string;
  meaning: {
    args: Record<string, unknown>;
    result: number | string;
    made?: string;
    out?: Record<string, unknown>;
    hwError?: string;
    rule?: string;
  };
}

/** Arguments that say which thing a request is about, rather than what becomes of it. */
const SUBJECT = ['capability', 'slot', 'id', 'type', 'gpa', 'address', 'gsi', 'offset'] as const;

/** Addresses of a program's own memory and numbers of its descriptors: what they are is their role, not their value. */
const PLACES: Readonly<Record<string, string>> = {
  userspace_addr: 'memory of the slot',
  source_addr: 'source',
  dirty_bitmap: 'bitmap',
  bitmap: 'bitmap',
  addr: 'data',
  guest_memfd: 'guest_memfd',
  fd: 'descriptor',
  resamplefd: 'descriptor',
};

/** Of KVM_IOEVENTFD and coalesced zones `addr` is the guest's. */
const GUEST_ADDRESS = /IOEVENTFD|COALESCED/;

/** Sets an address apart from "no address": NULL means something. */
const isNull = (value: unknown): boolean => value === '0x0' || value === 0;

function meaningOf(value: unknown, request: string, key = ''): unknown {
  const place = PLACES[key];
  if (place !== undefined && !(key === 'addr' && GUEST_ADDRESS.test(request)))
    return isNull(value) && key !== 'fd' && key !== 'guest_memfd' ? 'NULL' : place;
  if (Array.isArray(value)) return value.map((element) => meaningOf(element, request));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, meaningOf(inner, request, name)] as const),
  );
}

/** Objects by the order in which their kind appears under their parent: `vm1`, `vm1/memfd2`; vCPUs keep their id. */
class Roles {
  readonly #roles = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  of(name: string): string {
    const known = this.#roles.get(name);
    if (known !== undefined) return known;
    const at = name.lastIndexOf('/');
    const parent = at < 0 ? '' : `${this.of(name.slice(0, at))}/`;
    const [, kind, number] = /^(\D+)(\d*)$/.exec(name.slice(at + 1)) ?? [undefined, name.slice(at + 1), ''];
    const role = parent + kind + (kind === 'vcpu' || number === '' ? number : this.#count(parent + kind));
    this.#roles.set(name, role);
    return role;
  }

  #count(kind: string): number {
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    return count;
  }
}

/** Records in words that do not depend on the run. */
export function normalise(records: readonly RequestRecord[]): Normalised[] {
  const roles = new Roles();
  return records.map((record) => {
    const { request, args, result, errno, made, out, hwError, rule, moduleRule } = record;
    const object = roles.of(record.object);
    const subject = SUBJECT.filter((name) => args[name] !== undefined).map((name) => `${name}=${args[name]}`);
    const refusedBy = moduleRule?.id ?? rule?.id;
    return {
      record,
      key: [object, request, ...subject].join(' '),
      meaning: {
        args: meaningOf(args, request) as Record<string, unknown>,
        result: errno ?? result,
        ...(made !== undefined && { made: roles.of(made) }),
        ...(out && { out: meaningOf(out, request) as Record<string, unknown> }),
        ...(hwError !== undefined && { hwError }),
        ...(refusedBy !== undefined && { rule: refusedBy }),
      },
    };
  });
}

/** Records of a trace in JSON lines. @throws SyntaxError that names the line which is none. */
export function parseTrace(text: string, name: string): RequestRecord[] {
  const records: RequestRecord[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    try {
      records.push(checkRecord(JSON.parse(line)));
    } catch (error) {
      const why = error instanceof SyntaxError ? 'not JSON' : (error as Error).message;
      throw new SyntaxError(`${name}, line ${i + 1}: ${why}; expected what --trace-format json writes`);
    }
  }
  return records;
}

function checkRecord(value: unknown): RequestRecord {
  const record = value as Partial<RequestRecord> | null;
  if (typeof record !== 'object' || record === null) throw new TypeError('no object');
  for (const key of ['object', 'request'] as const)
    if (typeof record[key] !== 'string') throw new TypeError(`${key} is no string`);
  if (typeof record.args !== 'object' || record.args === null) throw new TypeError('args is no object');
  if (typeof record.result !== 'number') throw new TypeError('result is no number');
  return record as RequestRecord;
}
