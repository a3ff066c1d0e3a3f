// The preload library under a C program, a scripted model on the other side.
import { afterEach, describe, expect, it } from 'vitest';
import { compilers, library, program, SANITIZED, sanitizerLibraries } from './build.js';
import { type Answer, type Call, FakeModel } from './fake-model.js';
import { run } from './run.js';

const io = (number: number) => 0xae00 | number;
const GET_REGS = 0x8090ae81;
const SET_SIGNAL_MASK = 0x4004ae8b;
const [FALLOCATE, MAP] = [1, 2];
const [EINTR, EINVAL] = [4, 22];

const NONSENSE = [
  [],
  [4, 0, 0, 0, 129, 0, 0, 0],
  [255, 255, 255, 255],
  [0, 0, 0, 0],
  [20, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  [20, 0, 0, 0, 129, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0],
];

const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

/** What the requests of programs/transport.c mean. */
async function script(this: FakeModel, call: Call): Promise<Answer> {
  if (call.operation === FALLOCATE) {
    const [mode, offset, length] = call.arguments;
    return { result: mode === 3n && offset === 4096n && length === 8192n ? 0 : -EINVAL };
  }
  if (call.operation === MAP) {
    if (call.arguments[0] === 3n * 4096n) this.makeRunFile(call.object);
    return {};
  }
  switch (call.request) {
    case io(0x03):
      return { result: Number(call.argument) };
    case io(0x01):
      return { made: true };
    case io(0x41):
      return { made: true, writes: [{ address: 8n, bytes: Buffer.from([1]) }] };
    case io(0xce):
      return call.argument === 0n ? { file: 'hello' } : {};
    case GET_REGS:
      return { writes: [{ address: call.argument, bytes: Buffer.alloc(144, 0xee) }] };
    case SET_SIGNAL_MASK:
      return {};
    case io(0x80):
      if (call.argument !== 0n) return { hangUp: true };
      await call.interrupted;
      return { result: -EINTR };
    case io(0xe9):
      return { hangUp: true };
    case io(0xea): {
      const bytes = NONSENSE[Number(call.argument)]!;
      return bytes.length === 0 ? { hangUp: true } : { raw: Buffer.from(bytes) };
    }
    case io(0xeb):
      await pause(100);
      return {};
    default:
      return { result: -EINVAL };
  }
}

let model: FakeModel;

afterEach(async () => {
  await model.close();
});

async function start(): Promise<void> {
  model = await new FakeModel((call) => script.call(model, call)).listen();
}

const cases = [
  ['opens', 'opens /dev/kvm as the kernel does'],
  ['copies', 'follows descriptors through dup and friends'],
  ['passed', 'knows a descriptor that came over a socket'],
  ['makes', 'makes descriptors'],
  ['files', 'opens files that a request made'],
  ['memory', 'writes results, or EFAULT'],
  ['polls', 'polls as files without a poll of their own'],
  ['maps', 'maps the page of a vCPU and passes fallocate on'],
  ['signals', 'lets signals end KVM_RUN and nothing else'],
  ['handlers', 'allows requests in signal handlers'],
  ['threads', 'gives each thread its channel'],
  ['forks', 'survives fork and exec'],
  ['forking_threads', 'survives threads that fork at once'],
  ['closed_under_us', 'survives a program that closes what it does not know'],
  ['lost', 'turns lost and malformed answers into EIO'],
  ['plain', 'leaves everything else alone'],
] as const;

describe.skipIf(compilers === undefined).each([
  ['as published', undefined],
  ['under sanitizers', SANITIZED],
] as const)('the preload library %s', (_, flags) => {
  it.each(cases)('%s: %s', async (name) => {
    await start();
    const preload = [...(flags ? sanitizerLibraries() : []), library(flags)];
    const { status, output } = await run(program('transport', flags), [name], model.socket, preload);
    expect(output).not.toMatch(/^not ok/m);
    expect(status, output).toBe(0);
    await pause(20);
    expect([...model.objects], 'objects whose last descriptor is gone').toEqual([]);
    expect(model.openChannels).toBe(0);
  });
});

describe.skipIf(compilers === undefined)('without a model that answers', () => {
  it('gives the errno with which the model refuses', async () => {
    await start();
    model.refuse = 16;
    const { status, output } = await run(program('transport'), ['refused', '16'], model.socket, [library()]);
    expect(status, output).toBe(0);
  });

  it.each(['nobody', 'n'.repeat(200)])('says so, and gives EIO: %s', async (name) => {
    await start();
    const { status, output } = await run(program('transport'), ['refused', '5'], `${model.folder}/${name}`, [
      library(),
    ]);
    expect(output).toMatch(/no model answers at the socket that KVM_TDX_MOCK names, .*\/n/);
    expect(status, output).toBe(0);
  });
});

describe.skipIf(compilers === undefined)('a channel', () => {
  it('introduces itself with process and thread, and carries what a request names', async () => {
    await start();
    await run(program('transport'), ['threads'], model.socket, [library()]);
    const tids = new Set(model.calls.map(({ tid }) => tid));
    expect(tids.size).toBe(8);
    expect(new Set(model.calls.map(({ pid }) => pid)).size).toBe(1);
    expect(model.channels).toBe(8);
  });
});
