import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type ExitReply,
  type KvmSystem,
  mockHostOf,
  openKvm,
  type TdConfig,
  type TdRunOptions,
  TrustDomain,
  type VcpuExit,
} from '../../../src/index.js';
import { FakeVcpu, making, out, type Script } from './fake-vcpu.js';

const PAGE = 4096n;

/** A TD of the model whose vCPUs follow scripts instead of executing anything. */
async function scripted(
  system: KvmSystem,
  scripts: readonly (() => Script)[],
  config: TdConfig = {},
): Promise<TrustDomain> {
  const td = await TrustDomain.create(system, { vcpus: scripts.length, ...config });
  for (const [id, vcpu] of td.vcpus.entries()) {
    const fake = new FakeVcpu(id, scripts[id]!);
    const close = vcpu.close.bind(vcpu);
    vcpu.run = (options) => fake.run(options);
    vcpu.close = () => {
      fake.close();
      close();
    };
  }
  return td;
}

/** A script and the replies that it was given. */
function asking(...exits: VcpuExit[]): { script: () => Script; replies: ExitReply[] } {
  const replies: ExitReply[] = [];
  const script = function* (): Script {
    for (const exit of exits) replies.push(yield exit);
    yield out(0xf4, 0);
  };
  return { script, replies };
}

let system: KvmSystem;
beforeEach(() => {
  system = openKvm({ backend: 'mock' });
});
afterEach(() => system.close());

describe('a TD', () => {
  it('runs, prints, and says how it ended', async () => {
    using td = await scripted(system, [making(out(0x3f8, 'hello\n'))]);
    expect(td.state).toBe('finalized');
    const running = td.run();
    expect(td.state).toBe('running');
    expect(await running).toMatchObject({ how: 'exit-port', exitCode: 0, console: { bytes: 6 } });
    expect(td.state).toBe('ended');
    expect(await text(td.console)).toBe('hello\n');
  });

  it('compares the MRTD that its guest prints with its own', async () => {
    const right = function* (): Script {
      yield out(0x3f8, `MRTD ${mrtd}\n`);
      yield out(0xf4, 0);
    };
    let mrtd = '';
    using td = await scripted(system, [right]);
    mrtd = td.mrtd;
    expect((await td.run()).mrtd).toEqual({ reported: mrtd, matches: true });
  });

  it('runs once', async () => {
    using td = await scripted(system, [making()]);
    const first = td.run();
    await expect(td.run()).rejects.toMatchObject({
      code: 'ERR_KVM_TD_RUNNING',
      message: 'the TD runs already: await its run()',
    });
    await first;
    await expect(td.run()).rejects.toMatchObject({
      code: 'ERR_KVM_TD_ENDED',
      message: 'the TD has run, and a TD runs once: create another',
    });
    td.close();
    await expect(td.run()).rejects.toMatchObject({ name: 'TdStateError', code: 'ERR_KVM_CLOSED' });
  });

  it('may still run after a wrong option was refused', async () => {
    using td = await scripted(system, [making()]);
    await expect(td.run({ timeout: -1 })).rejects.toThrow(RangeError);
    expect(await td.run()).toMatchObject({ how: 'exit-port' });
  });

  it('closed in mid-run ends the run, the console, and everything else', async () => {
    const td = await scripted(system, [
      function* () {
        yield out(0x3f8, 'last words');
      },
      function* () {},
    ]);
    const running = td.run();
    const words = text(td.console);
    setTimeout(() => td.close(), 10);
    expect(await running).toMatchObject({ how: 'closed', message: 'The TD was closed while it ran' });
    expect(await words).toBe('last words');
    expect(td.state).toBe('closed');
    expect(mockHostOf(system)!.stats()).toMatchObject({ vms: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 });
  });

  it('closed while it waits for the reader of its console ends too', async () => {
    const td = await scripted(system, [
      function* () {
        for (;;) yield out(0x3f8, 'x'.repeat(0x8_0000));
      },
    ]);
    const reader = td.console.getReader();
    const running = td.run();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 20));
    td.close();
    expect(await running).toMatchObject({ how: 'closed' });
  });

  it('closed without ever running ends its console', async () => {
    const td = await scripted(system, [making()]);
    td.close();
    expect(await text(td.console)).toBe('');
  });

  it('explains an access to memory that it does not have with the memory that it has', async () => {
    const gpa = 0x1_0000_0000_0000n;
    using td = await scripted(
      system,
      [making({ reason: 'memory-fault', isPrivate: true, flags: 8n, gpa, size: PAGE })],
      { memory: '16MiB' },
    );
    const { advice } = await td.run();
    expect(advice).toMatch(
      /^No memory was given to the TD there; it has 0x0 to 0x1000000 \(RAM at 0x0\), .*0x100000000/,
    );
  });
});

describe('MapGPA', () => {
  const SHARED = 0n;
  const PRIVATE = 0x10n;
  const mapGpa = (gpa: bigint, pages: bigint, attributes: bigint): VcpuExit => ({
    reason: 'hypercall',
    nr: 12n,
    args: [gpa, pages, attributes],
    flags: 1n,
  });
  const FAILED = BigInt.asUintN(64, -22n);

  /** Attributes as the TD's VM was asked for them during the run, and the replies. */
  async function converted(...exits: VcpuExit[]) {
    const { script, replies } = asking(...exits);
    using td = await scripted(system, [script], { memory: '16MiB' });
    const changes: unknown[][] = [];
    const set = td.vm.setMemoryAttributes.bind(td.vm);
    td.vm.setMemoryAttributes = (...args) => {
      changes.push(args);
      set(...args);
    };
    await td.run();
    return { changes, replies: replies.map(({ ret }) => ret) };
  }

  it('makes pages shared and private again', async () => {
    const { changes, replies } = await converted(mapGpa(0x10_0000n, 2n, SHARED), mapGpa(0x10_1000n, 1n, PRIVATE));
    expect(changes).toEqual([
      [0x10_0000n, 2n * PAGE, 0n],
      [0x10_1000n, PAGE, 8n],
    ]);
    expect(replies).toEqual([0n, 0n]);
  });

  it('gives the private pages back that become shared', async () => {
    const { script } = asking(mapGpa(0xffff_0000n, 16n, SHARED));
    using td = await scripted(system, [script]);
    const { pagesAllocated } = mockHostOf(system)!.stats();
    await td.run();
    expect(mockHostOf(system)!.stats().pagesAllocated).toBe(pagesAllocated - 16);
  });

  it('shares what no memory is, for devices, but makes nothing private there', async () => {
    const { changes, replies } = await converted(mapGpa(0xc000_0000n, 1n, SHARED), mapGpa(0xc000_0000n, 1n, PRIVATE));
    expect(changes).toEqual([]);
    expect(replies).toEqual([0n, FAILED]);
  });

  it('asks KVM for no more than the memory that there is, however much the guest names', async () => {
    const all = (1n << 52n) - 1n;
    const { changes, replies } = await converted(mapGpa(0xff_f000n, all, SHARED), mapGpa(0xff_f000n, all, PRIVATE));
    expect(changes).toEqual([
      [0xff_f000n, PAGE, 0n],
      [0xffff_0000n, 16n * PAGE, 0n],
    ]);
    expect(replies).toEqual([0n, FAILED]);
  });

  it('makes nothing private that is only in part memory', async () => {
    const { replies } = await converted(mapGpa(0xff_f000n, 2n, PRIVATE), mapGpa(0n, 0n, SHARED));
    expect(replies).toEqual([FAILED, FAILED]);
  });

  it('tells the guest when the kernel refuses', async () => {
    const { replies } = await converted(mapGpa(0x123n, 1n, SHARED));
    expect(replies).toEqual([FAILED]);
  });
});

describe('GetQuote', () => {
  const GPA = 0x20_0000n;
  const SIZE = 2n * PAGE;
  const getQuote = (gpa = GPA, size = SIZE): VcpuExit => ({
    reason: 'tdx',
    nr: 0x10002n,
    flags: 0n,
    call: 'get-quote',
    gpa,
    size,
  });
  const share: VcpuExit = { reason: 'hypercall', nr: 12n, args: [GPA, 2n, 0n], flags: 1n };
  const report = Uint8Array.from({ length: 1024 }, (_, i) => i & 0xff);

  interface Header {
    version?: bigint;
    status?: bigint;
    inLength?: number;
    outLength?: number;
  }

  /** The buffer of a guest, and what it looks like after the call and once it is no longer in flight. */
  async function ask(options: TdRunOptions, header: Header = {}, exit = getQuote()) {
    const { version = 1n, status = 0n, inLength = report.length, outLength = 0 } = header;
    const memories: {
      size: number;
      read(offset: number, length: number): Uint8Array;
      write(offset: number, data: Uint8Array): void;
    }[] = [];
    const create = system.createMemory.bind(system);
    system.createMemory = (size) => {
      const memory = create(size);
      memories.push(memory);
      return memory;
    };
    const look = () => {
      const bytes = memories[0]!.read(Number(GPA), Number(SIZE));
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const length = view.getUint32(20, true);
      return { status: view.getBigUint64(8, true), outLength: length, quote: bytes.slice(24, 24 + length) };
    };
    let ret: bigint | undefined;
    let after: ReturnType<typeof look> | undefined;
    const script = function* (): Script {
      yield share;
      const buffer = new Uint8Array(Number(SIZE));
      const view = new DataView(buffer.buffer);
      view.setBigUint64(0, version, true);
      view.setBigUint64(8, status, true);
      view.setUint32(16, inLength, true);
      view.setUint32(20, outLength, true);
      buffer.set(report, 24);
      memories[0]!.write(Number(GPA), buffer);
      ret = (yield exit).ret;
      after = look();
      for (let polls = 0; polls < 1000 && look().status === 0xffff_ffff_ffff_ffffn; polls++) yield out(0x80, 0);
      yield out(0xf4, 0);
    };
    using td = await scripted(system, [script], { memory: '16MiB' });
    await td.run(options);
    return { ret, after, final: look() };
  }

  it('hands the report to the handler and the quote to the guest, which waits meanwhile', async () => {
    const quote = Uint8Array.of(1, 2, 3, 4, 5);
    let given: Uint8Array | undefined;
    const { ret, after, final } = await ask({
      quote: async (bytes) => {
        given = bytes;
        await new Promise((resolve) => setTimeout(resolve, 5));
        return quote;
      },
    });
    expect(given).toEqual(report);
    expect(ret).toBe(0n);
    expect(after).toMatchObject({ status: 0xffff_ffff_ffff_ffffn, outLength: 0 });
    expect(final).toEqual({ status: 0n, outLength: 5, quote });
  });

  it.each([
    ['fails', () => Promise.reject(new Error('no service'))],
    ['gives more than there is room for', () => new Uint8Array(2 * 4096)],
    ['gives no bytes', () => 'quote' as unknown as Uint8Array],
  ])('tells the guest of an error when the handler %s', async (_, quote) => {
    expect((await ask({ quote })).final).toMatchObject({ status: 0x8000_0000_0000_0000n, outLength: 0 });
  });

  it.each<[string, Header, VcpuExit | undefined, bigint]>([
    ['of another version', { version: 2n }, undefined, 0x8000_0000_0000_0000n],
    ['that is in flight already', { status: 0xffff_ffff_ffff_ffffn }, undefined, 0x8000_0000_0000_0000n],
    ['with an old answer in it', { outLength: 4 }, undefined, 0x8000_0000_0000_0000n],
    ['longer than itself', { inLength: 2 * 4096 - 23 }, undefined, 0x8000_0000_0000_0000n],
    ['of no size', {}, getQuote(GPA, 0n), 0x8000_0000_0000_0000n],
    ['that is larger than 128 KiB', {}, getQuote(GPA, 33n * PAGE), 0x8000_0000_0000_0000n],
    ['that is as large as can be', {}, getQuote(GPA, (1n << 64n) - PAGE), 0x8000_0000_0000_0000n],
    ['where no memory is', {}, getQuote(0xc000_0000n), 0x8000_0000_0000_0000n],
    ['that is not page-aligned', {}, getQuote(GPA + 8n), 0x8000_0000_0000_0002n],
  ])('refuses a buffer %s', async (_, header, exit, status) => {
    let asked = false;
    const quote = () => {
      asked = true;
      return new Uint8Array(0);
    };
    expect((await ask({ quote }, header, exit)).ret).toBe(status);
    expect(asked).toBe(false);
  });

  it('lets a guest that has 16 requests under way come again', async () => {
    const results: (bigint | undefined)[] = [];
    const memories: { write(offset: number, data: Uint8Array): void }[] = [];
    const create = system.createMemory.bind(system);
    system.createMemory = (size) => {
      const memory = create(size);
      memories.push(memory);
      return memory;
    };
    const script = function* (): Script {
      yield { ...share, args: [GPA, 17n, 0n] } as VcpuExit;
      for (let page = 0n; page < 17n; page++) {
        memories[0]!.write(Number(GPA + page * PAGE), Uint8Array.of(1));
        results.push((yield getQuote(GPA + page * PAGE, PAGE)).ret);
      }
      yield out(0xf4, 0);
    };
    using td = await scripted(system, [script], { memory: '16MiB' });
    await td.run({ quote: () => new Promise(() => {}) });
    expect(results).toEqual([...Array(16).fill(0n), 1n]);
  });

  it('does not hold up the end of a TD: the handler hears that nobody waits any more', async () => {
    let heard = false;
    const { ret, final } = await ask({
      quote: (_, { signal }) =>
        new Promise(() => {
          signal.addEventListener('abort', () => {
            heard = true;
          });
        }),
    });
    expect([ret, final.status, heard]).toEqual([0n, 0xffff_ffff_ffff_ffffn, true]);
  });
});
