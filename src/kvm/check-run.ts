import { boolean, bytes, integer, list, rangeError, record, typeError, u64 } from './check.js';
import type { ExitReply } from './exits.js';
import type { PortAnswer } from './vcpu.js';

/** What a read of an empty bus gives. */
const EMPTY_BUS = 0xff;
const LAST_PORT = 0xffff;

/** The argument of KvmVcpu.run, checked. */
export interface CheckedRun {
  reply: ExitReply;
  signal: AbortSignal | undefined;
  ports: readonly Required<PortAnswer>[];
  completeOnly: boolean;
  interruptWindow: boolean;
}

export function runOptions(options: unknown): CheckedRun {
  const { reply, signal, ports = [], completeOnly = false, interruptWindow = false } = record('options', options);
  if (signal !== undefined && !isSignal(signal)) throw typeError('options.signal', 'an AbortSignal', signal);
  return {
    reply: exitReply(reply === undefined ? {} : record('options.reply', reply)),
    signal,
    ports: Array.from(list('options.ports', ports), portAnswer),
    completeOnly: boolean('options.completeOnly', completeOnly),
    interruptWindow: boolean('options.interruptWindow', interruptWindow),
  };
}

const readAborted = Object.getOwnPropertyDescriptor(AbortSignal.prototype, 'aborted')!.get!;

/** Whether it works as one: something with its prototype only would fail when the guest runs already. */
function isSignal(value: unknown): value is AbortSignal {
  try {
    readAborted.call(value);
    return true;
  } catch {
    return false;
  }
}

function exitReply({ data, ret, tdVmCallInfo, msr }: Record<string, unknown>): ExitReply {
  const checked: ExitReply = {};
  if (data !== undefined) checked.data = bytes('reply.data', data);
  if (ret !== undefined) checked.ret = u64('reply.ret', ret);
  if (tdVmCallInfo !== undefined) {
    const info = record('reply.tdVmCallInfo', tdVmCallInfo);
    const register = (name: string): bigint => u64(`reply.tdVmCallInfo.${name}`, info[name]);
    checked.tdVmCallInfo = { r11: register('r11'), r12: register('r12'), r13: register('r13'), r14: register('r14') };
  }
  if (msr !== undefined) {
    const { error, data: value = 0n } = record('reply.msr', msr);
    checked.msr = { error: boolean('reply.msr.error', error), data: u64('reply.msr.data', value) };
  }
  return checked;
}

function portAnswer(value: unknown, i: number): Required<PortAnswer> {
  const path = `options.ports[${i}]`;
  const { first, last, readByte = EMPTY_BUS, gather = false } = record(path, value);
  const range = {
    first: integer(`${path}.first`, first, LAST_PORT),
    last: integer(`${path}.last`, last, LAST_PORT),
    readByte: integer(`${path}.readByte`, readByte, 0xff),
    gather: boolean(`${path}.gather`, gather),
  };
  if (range.first > range.last) throw rangeError(`${path}.last`, `${range.first}, its first port, or more`, range.last);
  return range;
}
