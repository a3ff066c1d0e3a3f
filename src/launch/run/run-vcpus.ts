import { KvmError, KvmStateError, type KvmVcpu, type PortAnswer, type VcpuExit } from '../../kvm/index.js';
import type { TdMemory } from '../memory.js';
import { answerExit } from './answer.js';
import { Bus } from './bus.js';
import { Console } from './console.js';
import { deviceAt, type PortDevice } from './devices.js';
import { aborted, closed, halted, summary, timedOut, type VcpuHistory } from './ends.js';
import { exitPort } from './exit-port.js';
import { type ExplainContext, runFailed } from './explain.js';
import { feed } from './input.js';
import { MrtdLine } from './mrtd-line.js';
import { type CheckedRunOptions, checkRunOptions, type TdRunOptions } from './options.js';
import type { End, TdOutcome } from './outcome.js';
import { QuoteService } from './quote.js';
import type { VmcallHandlers } from './td-vmcall.js';
import { Uart } from './uart.js';

/** What is to be run. */
export interface RunTarget {
  /** Ready for their first KVM_RUN. They belong to the caller, who closes them. */
  vcpus: readonly KvmVcpu[];
  /** Whether they are a TD's; decides what ends are explained with. */
  td?: boolean;
  /** What MapGPA and GetQuote are about; without it the guest is refused. */
  memory?: TdMemory;
  console?: Console;
  /** The TD's MRTD, to be compared with the one that the guest prints. */
  mrtd?: string;
  /** Aborted when the vCPUs are about to be closed. */
  closing?: AbortSignal;
}

/** How often bytes are fetched that a guest writes without leaving for anything else. */
const DRAIN_MS = 20;
/** How long exits may be answered without timers and signals being heard. */
const TURN_MS = 4;

interface VcpuState extends VcpuHistory {
  vcpu: KvmVcpu;
  interrupt: AbortController;
  halted: boolean;
  /** Of a vCPU that waits between two exits: the run has ended. */
  release?: () => void;
}

/**
 * Runs vCPUs until one of them ends the guest, answering its exits: a console, an exit port, the devices of `options`, and an empty bus
 * everywhere else. When it settles, no vCPU runs and nothing is left of it: no timer, no listener.
 *
 * @returns how it ended, whatever the guest did. Only a wrong option, and what a hook throws, reject.
 */
export async function runVcpus(target: RunTarget, options: TdRunOptions = {}): Promise<TdOutcome> {
  return startRun(target, checkRunOptions(options));
}

/** {@link runVcpus} with options that are checked already. */
export const startRun = (target: RunTarget, options: CheckedRunOptions): Promise<TdOutcome> =>
  new Run(target, options).finish();

class Run {
  readonly #target: RunTarget;
  readonly #options: CheckedRunOptions;
  readonly #console: Console;
  readonly #bus: Bus;
  readonly #uart: Uart | undefined;
  readonly #exitPort: PortDevice | undefined;
  readonly #handlers: VmcallHandlers;
  readonly #mrtdLine = new MrtdLine();
  readonly #states: VcpuState[];
  readonly #began = performance.now();
  readonly #gathers: boolean;
  #end: End | undefined;
  #failure: { error: unknown } | undefined;

  constructor(target: RunTarget, options: CheckedRunOptions) {
    this.#target = target;
    this.#options = options;
    this.#console = target.console ?? new Console();
    const { ports, mmio } = options.devices;
    if (options.consolePort !== false) this.#uart = new Uart(options.consolePort, (bytes) => this.#print(bytes));
    if (options.exitPort !== false) this.#exitPort = exitPort(options.exitPort);
    const own = [this.#exitPort, this.#uart].filter((device) => device !== undefined);
    this.#bus = new Bus({ ports: [...ports, ...own], mmio });
    // Gathered bytes of several vCPUs would lose their order, and nobody could watch the exits.
    this.#gathers =
      target.vcpus.length === 1 &&
      !options.onExit &&
      !options.onEvent &&
      !options.input &&
      this.#uart !== undefined &&
      this.#ownsUart(this.#uart);
    this.#handlers = {
      memory: target.memory,
      quotes: options.quote && target.memory && new QuoteService(target.memory, options.quote),
      notify: options.notify,
    };
    this.#states = target.vcpus.map((vcpu) => ({
      vcpu,
      interrupt: new AbortController(),
      exits: 0,
      last: undefined,
      halted: false,
    }));
  }

  async finish(): Promise<TdOutcome> {
    const { signal, timeout } = this.#options;
    const { closing } = this.#target;
    const onAbort = () => this.#stop(aborted(signal?.reason));
    const onClosing = () => this.#stop(closed());
    if (signal?.aborted) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    closing?.addEventListener('abort', onClosing, { once: true });
    const timer = timeout === undefined ? undefined : setTimeout(() => this.#stop(this.#timedOut(timeout)), timeout);
    // It also keeps the process alive while a guest of the model waits for nothing.
    const drainer = setInterval(() => this.#drainAll(), DRAIN_MS);
    let announceEnd = (): void => {};
    const ended = new Promise<void>((resolve) => {
      announceEnd = resolve;
    });
    const fed = this.#feed(ended);
    try {
      await Promise.all(this.#states.map((state) => this.#runVcpu(state)));
    } finally {
      announceEnd();
      await fed;
      clearTimeout(timer);
      clearInterval(drainer);
      signal?.removeEventListener('abort', onAbort);
      closing?.removeEventListener('abort', onClosing);
      this.#handlers.quotes?.end();
      this.#console.end();
    }
    if (this.#failure) throw this.#failure.error;
    return this.#outcome();
  }

  /** Never rejects. */
  async #feed(ended: Promise<void>): Promise<void> {
    const { input } = this.#options;
    if (!input || !this.#uart) return;
    try {
      await feed(input, this.#uart, ended);
    } catch (error) {
      this.#failure ??= { error };
      this.#stop({ how: 'stopped', message: 'The input failed' });
    }
  }

  /** Runs one vCPU until the run ends, or until it has halted for good. Never rejects. */
  async #runVcpu(state: VcpuState): Promise<void> {
    try {
      await this.#loop(state);
    } catch (error) {
      this.#failure ??= { error };
      this.#stop({ how: 'stopped', vcpu: state.vcpu.id, message: 'A hook failed' });
    } finally {
      this.#drain(state);
    }
  }

  async #loop(state: VcpuState): Promise<void> {
    const { vcpu, interrupt } = state;
    const { onExit, onEvent } = this.#options;
    let reply = {};
    let turned = performance.now();
    while (!this.#end) {
      const exit = await this.#nextExit(state, { reply, signal: interrupt.signal, ports: this.#portAnswers() });
      if (!exit) return;
      const now = performance.now();
      state.exits++;
      state.last = { exit, at: now };
      this.#drain(state);
      if (this.#end) return this.#lastWords(exit);
      let decided = onExit?.(exit, vcpu.id);
      // A hook that never settles holds up nobody.
      if (decided instanceof Promise) decided = await this.#untilEnd(state, decided);
      if (this.#end) return;
      const answer = decided ?? this.#answer(exit, state);
      const event = { kind: 'kvm-exit', atMs: now - this.#began, vcpu: vcpu.id, exit } as const;
      if ('reply' in answer) {
        reply = answer.reply;
        onEvent?.({ ...event, reply: answer.reply });
      } else {
        onEvent?.(event);
        if ('stop' in answer) this.#stop(this.#stopped(exit, vcpu.id, answer));
        else if ('how' in answer) this.#stop(answer);
        if (state.halted || this.#end) return;
        reply = {};
      }
      if (this.#console.full) await this.#untilEnd(state, this.#console.room());
      if (performance.now() - turned > TURN_MS) {
        await new Promise<void>((resolve) => setImmediate(resolve));
        turned = performance.now();
      }
    }
  }

  /** As `promise` settles; undefined if the run ends first. Promise.race() would leave something behind with each exit. */
  async #untilEnd<T>(state: VcpuState, promise: Promise<T>): Promise<T | undefined> {
    try {
      return await new Promise<T | undefined>((resolve, reject) => {
        promise.then(resolve, reject);
        state.release = () => resolve(undefined);
        if (this.#end) state.release();
      });
    } finally {
      delete state.release;
    }
  }

  /** An exit that came while the run ended: a byte that was written to the console is one. */
  #lastWords(exit: VcpuExit): void {
    if (exit.reason === 'io' && exit.direction === 'out') this.#bus.io(exit);
  }

  /** Undefined when there is none: the run has ended. */
  async #nextExit(state: VcpuState, options: Parameters<KvmVcpu['run']>[0]): Promise<VcpuExit | undefined> {
    const { vcpu } = state;
    try {
      return await vcpu.run(options);
    } catch (error) {
      if (this.#end) return undefined;
      if (error instanceof KvmError) this.#stop(runFailed(error, this.#context(vcpu.id)));
      else if (error instanceof KvmStateError && error.code === 'ERR_KVM_CLOSED') {
        this.#stop(closed(vcpu.id));
      } else throw error;
      return undefined;
    }
  }

  #answer(exit: VcpuExit, state: VcpuState): ReturnType<typeof answerExit> {
    if (exit.reason !== 'hlt') return answerExit(exit, this.#context(state.vcpu.id), this.#bus, this.#handlers);
    state.halted = true;
    if (this.#states.some(({ halted }) => !halted)) return { wait: 'halted' };
    return halted(state.vcpu.id, this.#states.length, exit);
  }

  #stopped(exit: VcpuExit, vcpu: number, { stop, exitCode }: { stop: string; exitCode?: number }): End {
    const device = exit.reason === 'io' ? this.#bus.portDevice(exit.port) : undefined;
    const how = device !== undefined && device === this.#exitPort ? 'exit-port' : 'stopped';
    return { how, vcpu, exit, message: stop, ...(exitCode !== undefined && { exitCode }) };
  }

  /** The first end is the outcome; the other vCPUs are interrupted. */
  #stop(end: End): void {
    if (this.#end) return;
    this.#end = end;
    for (const { interrupt, release } of this.#states) {
      interrupt.abort();
      release?.();
    }
  }

  #timedOut(timeout: number): End {
    const now = performance.now();
    return timedOut(
      timeout,
      this.#states.every(({ last }) => last === undefined || now - last.at > timeout / 2),
    );
  }

  #context(vcpu: number): ExplainContext {
    return { vcpu, td: this.#target.td ?? false, memory: this.#target.memory };
  }

  /** Whether no device of the caller lies over the registers that the vCPU's thread would answer. */
  #ownsUart({ dataPort, statusPort }: Uart): boolean {
    const { ports } = this.#options.devices;
    return !deviceAt(ports, dataPort) && !deviceAt(ports, statusPort);
  }

  #portAnswers(): PortAnswer[] {
    if (!this.#gathers || !this.#uart?.plain) return [];
    const { dataPort, statusPort, idleStatus } = this.#uart;
    return [
      { first: dataPort, last: dataPort, readByte: 0, gather: true },
      { first: statusPort, last: statusPort, readByte: idleStatus },
    ];
  }

  #drainAll(): void {
    if (this.#console.full) return;
    this.#console.resume();
    for (const state of this.#states) this.#drain(state);
  }

  #drain({ vcpu }: VcpuState): void {
    if (this.#gathers) this.#print(vcpu.takePortOutput());
  }

  #print(bytes: Uint8Array): void {
    this.#mrtdLine.write(bytes);
    this.#console.write(bytes);
  }

  #outcome(): TdOutcome {
    const now = performance.now();
    const { reported } = this.#mrtdLine;
    const { mrtd } = this.#target;
    return {
      ...(this.#end ?? { how: 'halted', message: 'No vCPU was there to run' }),
      ...(reported !== undefined && mrtd !== undefined && { mrtd: { reported, matches: reported === mrtd } }),
      durationMs: now - this.#began,
      console: { bytes: this.#console.total, dropped: this.#console.dropped },
      vcpus: this.#states.map((state) => summary(state.vcpu.id, state, now)),
    };
  }
}
