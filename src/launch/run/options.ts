import { ReadableStream } from 'node:stream/web';
import { integer, record, typeError } from '../../kvm/check.js';
import type { ExitReply, VcpuExit } from '../../kvm/index.js';
import { checkDevices, type Devices, type StopRun } from './devices.js';
import type { QuoteHandler } from './quote.js';
import type { NotifyHandler } from './td-vmcall.js';

/** What `onExit` decides: nothing (the run loop answers), a reply to the guest, or the end of the run. */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook that only looks returns nothing
export type ExitDecision = { reply: ExitReply } | StopRun | undefined | void;

/** An exit and the answer to it. */
export interface RunEvent {
  kind: 'kvm-exit';
  /** Milliseconds since the run began. */
  atMs: number;
  vcpu: number;
  exit: VcpuExit;
  /** What the guest is given; absent where the run ends. */
  reply?: ExitReply;
}

export interface TdRunOptions {
  /** Ends the run; the outcome is `aborted`. */
  signal?: AbortSignal;
  /** Milliseconds until the run is ended; the outcome is `timeout`. 1 to 2147483647. */
  timeout?: number;
  /** First port of the 16550 whose output is the console; default 0x3f8. false: none. */
  consolePort?: number | false;
  /**
   * What the guest reads from the console, which has to poll it: the 16550 raises no interrupts. It is read as the guest takes
   * it, and left to its owner when the run ends; what it fails with ends the run and rejects its promise. With it, console bytes
   * cross one by one.
   */
  input?: ReadableStream<Uint8Array>;
  /** A byte written here ends the run and is its exit code; default 0xf4. false: none. */
  exitPort?: number | false;
  /** Devices, in place of the default ones where they have the same ports. Everything else is an empty bus. */
  devices?: Devices;
  /**
   * Sees every exit first, and may answer it in place of the run loop. With it, console bytes cross one by one. What it throws
   * ends the run and rejects its promise.
   */
  onExit?: (exit: VcpuExit, vcpu: number) => ExitDecision | Promise<ExitDecision>;
  /** Hears of every exit and the answer to it, in order. With it, console bytes cross one by one. */
  onEvent?: (event: RunEvent) => void;
  /** Answers GetQuote; without it the guest is told that there is no such service. */
  quote?: QuoteHandler;
  /** Answers SetupEventNotifyInterrupt; without it the guest is told that it is unsupported. */
  notify?: NotifyHandler;
}

export type CheckedRunOptions = Omit<TdRunOptions, 'devices' | 'consolePort' | 'exitPort'> & {
  devices: Required<Devices>;
  consolePort: number | false;
  exitPort: number | false;
};

/** What setTimeout takes. */
const LONGEST_MS = 0x7fff_ffff;
const LAST_UART_PORT = 0xfff8;

/** @throws TypeError or RangeError that names the option */
export function checkRunOptions(options: unknown): CheckedRunOptions {
  const given = record('options', options) as TdRunOptions;
  const { signal, timeout, consolePort = 0x3f8, exitPort = 0xf4, devices = {}, input } = given;
  if (signal !== undefined && !(signal instanceof AbortSignal))
    throw typeError('options.signal', 'an AbortSignal', signal);
  if (timeout !== undefined && integer('options.timeout', timeout, LONGEST_MS) === 0) {
    throw new RangeError(`options.timeout must be 1 to ${LONGEST_MS} milliseconds, got 0; leave it out for no limit`);
  }
  if (consolePort !== false) integer('options.consolePort', consolePort, LAST_UART_PORT);
  if (exitPort !== false) integer('options.exitPort', exitPort, 0xffff);
  if (input !== undefined) checkInput(input, consolePort);
  for (const name of ['onExit', 'onEvent', 'quote', 'notify'] as const) {
    const value: unknown = given[name];
    if (value !== undefined && typeof value !== 'function') throw typeError(`options.${name}`, 'a function', value);
  }
  return { ...given, consolePort, exitPort, devices: checkDevices(devices) };
}

function checkInput(input: unknown, consolePort: number | false): void {
  if (!(input instanceof ReadableStream)) {
    throw typeError(
      'options.input',
      'a ReadableStream of bytes (Readable.toWeb() makes one of a stream of Node)',
      input,
    );
  }
  if (input.locked) throw new TypeError('options.input has a reader already: release it before the run');
  if (consolePort === false) throw new TypeError('options.input needs a console, and options.consolePort is false');
}
