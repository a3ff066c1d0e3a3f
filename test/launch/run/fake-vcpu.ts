import {
  AbortError,
  type ExitReply,
  KvmStateError,
  type KvmVcpu,
  type RunOptions,
  type VcpuExit,
} from '../../../src/kvm/index.js';

/** What a guest does, exit by exit; it is told the reply to each. An error is what KVM_RUN fails with, `wait` runs until somebody interrupts it. */
export type Script = Generator<VcpuExit | Error | 'wait', void, ExitReply>;

/** A vCPU whose guest is a script. After its end it waits. */
export class FakeVcpu {
  closed = false;
  running = false;
  readonly replies: ExitReply[] = [];
  #script: Script;
  #started = false;
  #close: (() => void) | undefined;

  constructor(
    readonly id: number,
    script: () => Script,
  ) {
    this.#script = script();
  }

  async run({ reply = {}, signal }: RunOptions = {}): Promise<VcpuExit> {
    if (this.closed) throw new KvmStateError('ERR_KVM_CLOSED', 'closed');
    if (this.running) throw new KvmStateError('ERR_KVM_VCPU_RUNNING', 'running');
    if (signal?.aborted) throw new AbortError(signal.reason);
    if (this.#started) this.replies.push(reply);
    const next = this.#started ? this.#script.next(reply) : this.#script.next({});
    this.#started = true;
    if (next.value instanceof Error) throw next.value;
    if (!next.done && next.value !== 'wait') return next.value;
    this.running = true;
    return new Promise<never>((_, reject) => {
      const end = (error: Error): void => {
        this.running = false;
        reject(error);
      };
      signal?.addEventListener('abort', () => end(new AbortError(signal.reason)), { once: true });
      this.#close = () => end(new KvmStateError('ERR_KVM_CLOSED', 'closed while it ran'));
    });
  }

  takePortOutput(): Uint8Array {
    return new Uint8Array(0);
  }

  close(): void {
    this.closed = true;
    this.#close?.();
  }

  asKvmVcpu(): KvmVcpu {
    return this as unknown as KvmVcpu;
  }
}

export const out = (port: number, value: number | string): VcpuExit => {
  const data = typeof value === 'string' ? Buffer.from(value) : Uint8Array.of(value);
  return { reason: 'io', direction: 'out', port, size: 1, count: data.length, data: new Uint8Array(data) };
};

export const inb = (port: number, size = 1): VcpuExit => ({
  reason: 'io',
  direction: 'in',
  port,
  size,
  count: 1,
  data: new Uint8Array(0),
});

export const fakes = (...scripts: (() => Script)[]): { vcpus: KvmVcpu[]; fakes: FakeVcpu[] } => {
  const made = scripts.map((script, id) => new FakeVcpu(id, script));
  return { fakes: made, vcpus: made.map((fake) => fake.asKvmVcpu()) };
};

/** A guest that makes these exits and ends with 0. */
export const making = (...exits: VcpuExit[]): (() => Script) =>
  function* () {
    for (const exit of exits) yield exit;
    yield out(0xf4, 0);
  };
