import { errnoNumber } from '../kvm/errno.js';
import { TDX_STATUS, type TdxStatusName } from '../kvm/status.js';
import { Refusal } from './kernel/refusal.js';
import { TDH } from './module/seamcall.js';

/**
 * A failure that the model is asked for, so that users can test their own retries. Either `errno`, and the request fails
 * before it has done anything, or `status`, and a SEAMCALL that the request makes is answered with that status. EINTR is
 * met by the seam as on a real kernel: it makes the request again, except KVM_RUN.
 */
export interface Fault {
  /** The request, such as `KVM_TDX_INIT_VM`, `KVM_CREATE_VCPU`, `KVM_RUN`. */
  request: string;
  /** Which call of that request on the host, from 1. */
  nth: number;
  /** `errno`: how many calls in a row fail; `status`: how many tries of the SEAMCALL within the call do. Default 1. */
  times?: number;
  /** Name of an errno, such as `EINTR`. */
  errno?: string;
  /** A status of the TDX module, by name (`TDX_RND_NO_ENTROPY`) or number (`0x8000020300000000`). */
  status?: string;
  /** The SEAMCALL that is answered, such as `TDH.MNG.INIT`; by default the one that the request is about. */
  seamcall?: string;
  /** `status`: SEAMCALLs let through first. `errno` of KVM_TDX_INIT_MEM_REGION: pages added first. Default 0. */
  skip?: number;
}

/** A fault that cannot be: which one, what was wrong, what was expected. */
export class FaultError extends Error {
  override readonly name = 'FaultError';
}

const SEAMCALL_LEAVES: ReadonlyMap<string, number> = new Map(
  Object.entries(TDH).map(([name, leaf]) => [`TDH.${name.replaceAll('_', '.')}`, leaf]),
);

const USUAL_SEAMCALL: Readonly<Record<string, string>> = {
  KVM_TDX_INIT_VM: 'TDH.MNG.INIT',
  KVM_TDX_INIT_VCPU: 'TDH.VP.INIT',
  KVM_TDX_INIT_MEM_REGION: 'TDH.MEM.PAGE.ADD',
  KVM_TDX_FINALIZE_VM: 'TDH.MR.FINALIZE',
  KVM_TDX_GET_CPUID: 'TDH.MNG.RD',
  KVM_RUN: 'TDH.VP.ENTER',
};

/** A SEAMCALL that is to be answered with a status, and what is left of that. */
interface SeamcallFault {
  leaf: number;
  status: bigint;
  skip: number;
  left: number;
}

/** A request in which others may come in between. Its faults hold during each of its steps. */
export interface RequestFaults {
  step<T>(body: () => T): T;
}

/** A fault checked and resolved. */
interface Resolved {
  request: string;
  nth: number;
  times: number;
  skip: number;
  errno?: string;
  seamcall?: { leaf: number; status: bigint };
}

function resolve(fault: Fault, where: string): Resolved {
  const fail = (key: string, expected: string): never => {
    const value = JSON.stringify((fault as unknown as Record<string, unknown>)[key]);
    throw new FaultError(`${where}.${key} is ${value}, expected ${expected}`);
  };
  const count = (key: 'nth' | 'times' | 'skip', min: number, value: number): number =>
    Number.isSafeInteger(value) && value >= min ? value : fail(key, `a whole number from ${min}`);
  if (typeof fault.request !== 'string' || !/^KVM_[A-Z0-9_]+$/.test(fault.request))
    fail('request', "a request such as 'KVM_TDX_INIT_VM'");
  const resolved: Resolved = {
    request: fault.request,
    nth: count('nth', 1, fault.nth),
    times: count('times', 1, fault.times ?? 1),
    skip: count('skip', 0, fault.skip ?? 0),
  };
  if (fault.errno === undefined && fault.status === undefined)
    throw new FaultError(`${where} has neither errno nor status, expected one`);
  if (fault.errno !== undefined && fault.status !== undefined)
    throw new FaultError(`${where} has both errno and status, expected one`);
  if (fault.errno !== undefined) {
    try {
      errnoNumber(fault.errno);
    } catch {
      fail('errno', "an errno of Linux such as 'EINTR'");
    }
    resolved.errno = fault.errno;
    return resolved;
  }
  const name = fault.seamcall ?? USUAL_SEAMCALL[fault.request];
  const leaf = SEAMCALL_LEAVES.get(name ?? '');
  if (leaf === undefined) fail('seamcall', "a SEAMCALL such as 'TDH.MNG.INIT'");
  resolved.seamcall = {
    leaf: leaf!,
    status: parseStatus(fault.status!) ?? fail('status', 'a u64 or a name such as TDX_OPERAND_BUSY'),
  };
  return resolved;
}

function parseStatus(text: string): bigint | undefined {
  if (text in TDX_STATUS) return TDX_STATUS[text as TdxStatusName];
  if (typeof text !== 'string' || !/^(0x[0-9a-f]{1,16}|\d+)$/i.test(text)) return undefined;
  const value = BigInt(text);
  return value < 1n << 64n ? value : undefined;
}

/** The faults of a host, and where its requests are with respect to them. */
export class Faults {
  readonly #faults: Resolved[];
  readonly #calls = new Map<string, number>();
  /** SEAMCALL faults of the request under way, with what is left of them. */
  #seamcalls: SeamcallFault[] = [];
  #pageFault: { after: number; errno: string } | undefined;

  /** @param where names the list in messages: `faults`, or a profile's file. @throws FaultError. */
  constructor(faults: readonly Fault[], where = 'faults') {
    this.#faults = faults.map((fault, i) => resolve(fault, `${where}[${i}]`));
  }

  /** Asks for one more fault. @throws FaultError. */
  add(fault: Fault): void {
    this.#faults.push(resolve(fault, 'fault'));
  }

  /** How often a request was made on this host. */
  calls(request: string): number {
    return this.#calls.get(request) ?? 0;
  }

  /** Runs a request under the faults that are meant for it. @throws Refusal where it is to fail. */
  during<T>(request: string, body: () => T): T {
    return this.begin(request).step(body);
  }

  /** Counts a request and finds the faults that are meant for it. @throws Refusal where it is to fail. */
  begin(request: string): RequestFaults {
    const nth = this.calls(request) + 1;
    this.#calls.set(request, nth);
    if (this.#faults.length === 0) return { step: (body) => body() };
    const due = this.#faults.filter((fault) => fault.request === request);
    const failing = due.find(({ errno, nth: first, times }) => errno && first <= nth && nth < first + times);
    const resumable = request === 'KVM_TDX_INIT_MEM_REGION';
    if (failing && !resumable) throw new Refusal('kvm.fault-on-demand', failing.errno);
    const pageFault = failing && { after: failing.skip, errno: failing.errno! };
    const seamcalls = due
      .filter((fault) => fault.seamcall && fault.nth === nth)
      .map(({ seamcall, skip, times }) => ({ ...seamcall!, skip, left: times }));
    return { step: (body) => this.#under(seamcalls, pageFault, body) };
  }

  #under<T>(seamcalls: SeamcallFault[], pageFault: { after: number; errno: string } | undefined, body: () => T): T {
    const before = [this.#seamcalls, this.#pageFault] as const;
    [this.#seamcalls, this.#pageFault] = [seamcalls, pageFault];
    try {
      return body();
    } finally {
      [this.#seamcalls, this.#pageFault] = before;
    }
  }

  /** Asked before each try of a SEAMCALL: the status to answer with, if any. */
  readonly seamcall = (leaf: number): bigint | undefined => {
    for (const fault of this.#seamcalls) {
      if (fault.leaf !== leaf || fault.left === 0) continue;
      if (fault.skip > 0) {
        fault.skip--;
        continue;
      }
      fault.left--;
      return fault.status;
    }
    return undefined;
  };

  /** Asked by KVM_TDX_INIT_MEM_REGION before each page. @param done pages that this call has added. */
  beforePage(done: number): void {
    if (this.#pageFault?.after === done) throw new Refusal('kvm.fault-on-demand', this.#pageFault.errno);
  }
}
