import type {
  EngineTd,
  EngineVcpu,
  GuestEngine,
  GuestEvent,
  GuestSpace,
  ProcessorMode,
} from '../../src/mock/guest/engine.js';
import { INITIAL_STATE } from '../../src/mock/guest/initial-state.js';

/** What a guest does at its next run: an event, or a look at the processor that gives one. */
export type Step = GuestEvent | ((cpu: FakeVcpu) => GuestEvent | Promise<GuestEvent>);

/** A processor that plays a script; with the script at its end it waits for an interrupt. */
export class FakeVcpu implements EngineVcpu {
  readonly gprs = new BigUint64Array(16);
  rip = INITIAL_STATE.rip;
  rflags: bigint = INITIAL_STATE.rflags;
  readonly mode: { -readonly [K in keyof ProcessorMode]: ProcessorMode[K] } = {
    cpl: 0,
    longMode: true,
    cr0: INITIAL_STATE.cr0,
    cr3: 0n,
    cr4: INITIAL_STATE.cr4,
    efer: INITIAL_STATE.efer,
    xcr0: INITIAL_STATE.xcr0,
  };
  /** Exceptions that were injected, and not yet taken. */
  readonly injected: { vector: number; errorCode?: number | undefined; cr2?: bigint | undefined }[] = [];
  interruptWindow = false;
  closed = false;

  constructor(
    readonly index: number,
    readonly script: Step[],
  ) {}

  async run(signal: AbortSignal): Promise<GuestEvent> {
    if (signal.aborted) return { kind: 'interrupted' };
    const step = this.script.shift();
    if (step) return typeof step === 'function' ? await step(this) : step;
    return new Promise((resolve) => {
      signal.addEventListener('abort', () => resolve({ kind: 'interrupted' }), { once: true });
    });
  }

  get injecting(): boolean {
    return this.injected.length > 0;
  }

  get interruptible(): boolean {
    return !this.injecting && (this.rflags & 0x200n) !== 0n;
  }

  inject(vector: number, errorCode?: number, cr2?: bigint): void {
    this.injected.push({ vector, ...(errorCode !== undefined && { errorCode }), ...(cr2 !== undefined && { cr2 }) });
  }

  close(): void {
    this.closed = true;
  }
}

/** A TD whose processors play scripts on the module's own pages. */
export class FakeTd implements EngineTd {
  readonly vcpus: FakeVcpu[] = [];
  readonly log: string[] = [];
  closed = false;

  constructor(
    readonly space: GuestSpace,
    readonly scripts: readonly Step[][],
  ) {}

  createVcpu(index: number, gprs: BigUint64Array): FakeVcpu {
    const cpu = new FakeVcpu(index, this.scripts[index] ?? []);
    cpu.gprs.set(gprs);
    this.vcpus[index] = cpu;
    return cpu;
  }

  readPrivate(gpa: number, length: number): Uint8Array {
    const page = this.space.privatePage(gpa);
    if (page.state !== 'mapped') throw new Error(`page at ${gpa} is ${page.state}`);
    return page.bytes.subarray(gpa % 4096, (gpa % 4096) + length);
  }

  writePrivate(gpa: number, bytes: Uint8Array): void {
    this.readPrivate(gpa, bytes.length).set(bytes);
  }

  pagesMapped(gpa: number, size: number): void {
    this.log.push(`mapped ${gpa.toString(16)} ${size}`);
  }

  pagesUnmapped(gpa: number, size: number): void {
    this.log.push(`unmapped ${gpa.toString(16)} ${size}`);
  }

  close(): void {
    this.closed = true;
  }
}

export class FakeEngine implements GuestEngine {
  readonly name = 'interpreter';
  readonly description = 'plays a script';
  readonly tds: FakeTd[] = [];
  closed = false;

  /** @param scripts of each VCPU of the first TD. */
  constructor(readonly scripts: readonly Step[][]) {}

  openTd(space: GuestSpace): FakeTd {
    const td = new FakeTd(space, this.scripts);
    this.tds.push(td);
    return td;
  }

  close(): void {
    this.closed = true;
  }
}
