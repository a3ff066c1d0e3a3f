import type { Task } from '../../mock/kernel/user.js';
import type { Decoded, Fields, Struct } from '../layout/struct.js';
import type { WireObject } from '../objects.js';
import type { UserMemory } from '../user-memory.js';

/** One call of ioctl(): its third argument, and the process that made it. */
export class Call {
  constructor(
    readonly arg: bigint,
    readonly user: UserMemory,
    readonly task: Task,
    /** The object behind a descriptor of the process; 'foreign' for a file that is not KVM's, undefined where none is open. */
    readonly descriptor: (fd: number) => WireObject | 'foreign' | undefined = () => undefined,
    /** Which eventfd a descriptor of the process is; 'foreign' for another file, undefined where none is open. */
    readonly eventfd: (fd: number) => string | undefined = (fd) => String(fd),
    /** Aborted when a signal arrives for the thread that waits. */
    readonly signal: AbortSignal = new AbortController().signal,
    readonly pid = 0,
  ) {}

  /** copy_from_user() of a structure. @param offset bytes from the argument. */
  read<F extends Fields>(struct: Struct<F>, offset = 0): Decoded<F> {
    return struct.decode(this.user.read(this.arg + BigInt(offset), struct.size));
  }

  /** copy_to_user() of a structure. */
  write<F extends Fields>(struct: Struct<F>, value: Partial<Decoded<F>>, offset = 0): void {
    this.user.write(this.arg + BigInt(offset), struct.encode(value));
  }
}

/** What a request gives back: a number, an object that gets a descriptor, or what a descriptor of a file gives to read. */
export type Result = number | { made: WireObject } | { file: Uint8Array };

/** A call in words, for a trace. */
export interface Description {
  /** Where the number alone does not say what is asked for. */
  name?: string;
  args: Record<string, unknown>;
}

/** A request as one kind of object answers it. A refused one throws Refusal. */
export interface Request<O> {
  readonly name: string;
  readonly number: number;
  /** The structure at the argument, where it is an address. */
  readonly struct?: Struct<Fields>;
  /** What the argument is, where it is a number. */
  readonly argument?: string;
  readonly answer: (object: O, call: Call) => Result | Promise<Result>;
  /** For a trace, before the answer; by default the structure or the number. May throw Refusal (EFAULT). */
  readonly describe?: (object: O, call: Call) => Description;
  /** For a trace, after a request that was not refused: what it gave beside its result. May throw Refusal. */
  readonly outcome?: (object: O, call: Call) => Record<string, unknown>;
}

/** Requests by number. @throws Error where two have the same. */
export function tableOf<O>(requests: readonly Request<O>[]): ReadonlyMap<number, Request<O>> {
  const table = new Map<number, Request<O>>();
  for (const request of requests) {
    if (table.has(request.number))
      throw new Error(`${request.name} has the number of ${table.get(request.number)!.name}`);
    table.set(request.number, request);
  }
  return table;
}
