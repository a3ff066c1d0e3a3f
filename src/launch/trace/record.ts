// One line of a trace: what a guest did and what it was told, whoever saw it.

import { GPRS } from '../../kvm/gprs.js';
import { decodeTdxStatus } from '../../kvm/index.js';
import type { SeamcallTrace } from '../../mock/kernel/seamcalls.js';
import type { GuestTrace } from '../../mock/module/guest-trace.js';
import type { RunEvent } from '../run/options.js';
import { exitText, type Facts, hex, replyFacts } from './exit-text.js';
import { type Gpr, gpr, gprRecord } from './registers.js';
import { seamcallFacts, seamcallName, seamcallStatus } from './seamcalls.js';
import { EXIT_REASON_OUTPUT, TDG_LEAVES } from './tdg-leaves.js';
import { vmcallText } from './vmcalls.js';
import { exitReasonText, vectorText } from './vmx-exit-reasons.js';

export interface TraceRecord {
  /** Milliseconds since the trace began. */
  atMs: number;
  /** Where it was seen: KVM_RUN's exits on any backend, the TDX module's two sides on the model. */
  seen: 'kvm' | 'guest' | 'host';
  vcpu?: number;
  /** Address of the guest's instruction, where it is known. */
  rip?: string;
  /** What happened: `KVM_EXIT_IO`, `TDG.MEM.PAGE.ACCEPT`, `#VE`, `TD exit`, `TDH.MEM.PAGE.AUG`. */
  name: string;
  /** Operands by name. */
  facts: Facts;
  /** Status of a call of the TDX module. */
  status?: string;
  /** What came back, by name. */
  results?: Facts;
  /** The entry of the rulebook that refused it. */
  rule?: string;
  /** General registers as they were, and those that changed. */
  registers?: Record<string, string>;
  changed?: Record<string, string>;
}

export function recordOfRun({ vcpu, exit, reply }: RunEvent, atMs: number): TraceRecord {
  const { name, facts } = exitText(exit);
  const results = reply && replyFacts(reply);
  return {
    atMs,
    seen: 'kvm',
    vcpu,
    name,
    facts,
    ...(results && Object.keys(results).length > 0 && { results }),
  };
}

export function recordOfSeamcall({ leaf, args, result, injected }: SeamcallTrace, atMs: number): TraceRecord {
  return {
    atMs,
    seen: 'host',
    name: seamcallName(leaf),
    facts: seamcallFacts(leaf, args),
    status: `${seamcallStatus(leaf, result)}${injected ? ' (injected fault)' : ''}`,
    ...(result.rule !== undefined && { rule: result.rule }),
  };
}

export function recordOfGuest(trace: GuestTrace, atMs: number): TraceRecord {
  const { vcpu, rip } = trace;
  const record = { atMs, seen: 'guest', vcpu, rip: hex(rip) } as const;
  if (trace.kind === 'exit') {
    return { ...record, name: 'TD exit', facts: { reason: exitReasonText(trace.exitReason) } };
  }
  if (trace.kind === 'exception') {
    const { vector, errorCode, exitReason, rule } = trace;
    const facts: Facts = {};
    if (errorCode !== undefined) facts['error_code'] = hex(errorCode);
    if (exitReason !== undefined) facts['reason'] = exitReasonText(exitReason);
    return { ...record, name: vectorText(vector), facts, ...(rule !== undefined && { rule }) };
  }
  if (trace.kind === 'interrupt') return { ...record, name: interruptText(trace.vector), facts: {} };
  return { ...record, ...tdcall(trace) };
}

const NMI = 2;
const interruptText = (vector: number): string => (vector === NMI ? 'NMI' : `interrupt ${vector}`);

type Tdcall = Extract<GuestTrace, { kind: 'tdcall' }>;

function tdcall({ leaf, before, after, rule }: Tdcall): Omit<TraceRecord, 'atMs' | 'seen'> {
  const text = TDG_LEAVES[leaf];
  const isVmcall = leaf === 0;
  const called = isVmcall
    ? vmcallText(before, after)
    : { name: text?.name ?? `TDCALL leaf ${leaf}`, facts: namedRegisters(before, text?.inputs ?? {}) };
  const record: Omit<TraceRecord, 'atMs' | 'seen'> = { ...called, registers: gprRecord(before) };
  if (rule !== undefined) record.rule = rule;
  if (!after) return record;
  const status = decodeTdxStatus(gpr(after, 'rax'));
  record.status = status.value === 0n ? status.name : status.text;
  if (!isVmcall && !status.error) {
    const results = namedRegisters(after, text?.outputs ?? {});
    if (Object.keys(results).length > 0) record.results = results;
  } else if (isVmcall && status.error) delete record.results;
  record.changed = changedRegisters(before, after);
  return record;
}

const namedRegisters = (values: BigUint64Array, names: Readonly<Partial<Record<Gpr, string>>>): Facts =>
  Object.fromEntries(
    Object.entries(names).map(([register, name]) => {
      const value = gpr(values, register as Gpr);
      return [name, name === EXIT_REASON_OUTPUT ? exitReasonText(Number(value & 0xffff_ffffn)) : hex(value)];
    }),
  );

const changedRegisters = (before: BigUint64Array, after: BigUint64Array): Record<string, string> =>
  Object.fromEntries(
    GPRS.filter((name) => gpr(before, name) !== gpr(after, name)).map((name) => [name, hex(gpr(after, name))]),
  );
