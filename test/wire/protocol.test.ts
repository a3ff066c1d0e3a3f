import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MockHost } from '../../src/mock/kernel/host.js';
import { Refusal } from '../../src/mock/kernel/refusal.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { decodeMessage, encodeResult, MAX_MESSAGE, MessageStream, ProtocolError } from '../../src/wire/protocol.js';
import { WireServer } from '../../src/wire/server.js';
import { type Piece, PieceMemory } from '../../src/wire/user-memory.js';
import { callMessage, decodeResult, hello, interruptMessage, objectMessage, TestSocket, TestThread } from './client.js';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const bytes = fc.uint8Array({ maxLength: 64 });

const piece = fc.record({ address: u64, bytes: fc.option(bytes), length: u32 });
const call = fc.record({
  object: u64,
  operation: fc.integer({ min: 0, max: 2 }),
  request: u32,
  arg: u64,
  newObject: u64,
  operands: fc.array(u64, { minLength: 4, maxLength: 4 }),
  pieces: fc.array(piece, { maxLength: 8 }),
});

const payload = (message: Buffer): Uint8Array => message.subarray(4);

describe('a message', () => {
  it('of a client is decoded to what it says', () => {
    fc.assert(
      fc.property(call, (given) => {
        const pieces = given.pieces.map(({ address, bytes, length }) =>
          bytes ? { address, bytes: Uint8Array.from(bytes) } : { address, unreadable: length },
        );
        const operation = (['ioctl', 'fallocate', 'mmap'] as const)[given.operation];
        expect(decodeMessage(payload(callMessage(given)))).toEqual({ ...given, type: 'call', operation, pieces });
      }),
    );
  });

  it('that is cut short or too long is refused', () => {
    fc.assert(
      fc.property(call, fc.nat(), (given, where) => {
        const whole = payload(callMessage(given));
        expect(() => decodeMessage(whole.subarray(0, where % whole.length))).toThrow(ProtocolError);
        expect(() => decodeMessage(Buffer.concat([whole, Buffer.alloc(1)]))).toThrow(ProtocolError);
      }),
    );
  });

  it('of any bytes is decoded or refused, never anything else', () => {
    fc.assert(
      fc.property(fc.oneof(bytes, fc.tuple(fc.integer({ min: 0, max: 5 }), bytes)), (given) => {
        const data = Array.isArray(given) ? Buffer.concat([Buffer.from([given[0], 0, 0, 0]), given[1]]) : given;
        try {
          decodeMessage(data);
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['another version', payload(hello(1, 2)), 'version 2 of the protocol, expected 1'],
    ['another version of OBJECT', payload(objectMessage(1n, 0, 7)), 'version 7 of the protocol, expected 1'],
    ['an unknown way to an object', payload(objectMessage(1n, 2)), 'how is 2, expected 0 to 1'],
    ['an unknown operation', payload(callMessage({ object: 1n, operation: 3 })), 'operation is 3, expected 0 to 2'],
    ['an unknown type', Buffer.from([129, 0, 0, 0]), 'type 129, expected HELLO, OBJECT, CALL or INTERRUPT'],
    [
      'more pieces than any request has',
      payload(callMessage({ object: 1n, pieces: Array(65).fill({ address: 0n, bytes: new Uint8Array(0) }) })),
      'call has 65 pieces, expected at most 64',
    ],
  ])('of %s is refused in words', (_, data, text) => {
    expect(() => decodeMessage(data)).toThrow(text);
  });

  it('of the server is read by a client as it was meant', () => {
    const write = fc.record({ address: u64, bytes });
    const result = fc.bigInt({ min: -4095n, max: 1n << 31n });
    fc.assert(
      fc.property(
        result,
        fc.boolean(),
        fc.boolean(),
        fc.array(write, { maxLength: 4 }),
        (value, made, file, writes) => {
          const data = Buffer.from(encodeResult({ result: value, made, file, writes }));
          expect(data.readUInt32LE(0)).toBe(data.length - 4);
          const read = decodeResult(data.subarray(4));
          const same = writes.map(({ address, bytes }) => ({ address, bytes: Buffer.from(bytes) }));
          expect(read).toEqual({ result: Number(value), made, file, writes: same });
        },
      ),
    );
  });
});

describe('a stream of messages', () => {
  it('gives the same messages however it is cut', () => {
    const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(fc.array(call, { minLength: 1, maxLength: 4 }), cuts, (calls, sizes) => {
        const messages = calls.map(callMessage);
        const all = Buffer.concat(messages);
        const stream = new MessageStream();
        const found: Uint8Array[] = [];
        for (let at = 0, i = 0; at < all.length; i++) {
          const size = sizes[i % sizes.length]!;
          found.push(...stream.push(all.subarray(at, at + size)));
          at += size;
        }
        expect(found.map((data) => Buffer.from(data))).toEqual(messages.map((message) => message.subarray(4)));
      }),
    );
  });

  it.each([0, 3, MAX_MESSAGE + 1, 0xffff_ffff])(
    'with a message of %i bytes is refused before they are there',
    (size) => {
      const head = Buffer.alloc(4);
      head.writeUInt32LE(size);
      expect(() => [...new MessageStream().push(head)]).toThrow(ProtocolError);
    },
  );
});

describe('the memory of a call', () => {
  const BASE = 0x1000n;
  /** Pieces side by side from BASE, of which one may be unreadable. */
  const layout = fc.array(
    fc.record({ bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }), readable: fc.boolean() }),
    {
      maxLength: 5,
    },
  );

  const build = (parts: { bytes: Uint8Array; readable: boolean }[]) => {
    let address = BASE;
    const pieces: Piece[] = [];
    for (const { bytes, readable } of parts) {
      pieces.push(readable ? { address, bytes: bytes.slice() } : { address, unreadable: bytes.length });
      address += BigInt(bytes.length);
    }
    return { memory: new PieceMemory(pieces), all: Buffer.concat(parts.map((part) => part.bytes)) };
  };

  it('is read across pieces, and EFAULT where a byte is in no readable one', () => {
    fc.assert(
      fc.property(layout, fc.nat(100), fc.nat(100), (parts, offset, length) => {
        const { memory, all } = build(parts);
        const mapped = parts.flatMap(({ bytes, readable }) => Array.from(bytes, () => readable));
        const wanted = Array.from({ length }, (_, i) => mapped[offset + i] === true);
        const read = () => Buffer.from(memory.read(BASE + BigInt(offset), length));
        if (wanted.every(Boolean)) expect(read()).toEqual(all.subarray(offset, offset + length));
        else expect(read).toThrow(Refusal);
      }),
    );
  });

  it('takes what is written up to the first unreadable byte, and gives it back', () => {
    fc.assert(
      fc.property(layout, fc.nat(60), fc.uint8Array({ maxLength: 60 }), (parts, offset, data) => {
        const { memory } = build(parts);
        const mapped = parts.flatMap(({ bytes, readable }) => Array.from(bytes, () => readable));
        const bad = data.findIndex((_, i) => mapped[offset + i] === false);
        const written = bad < 0 ? data : data.subarray(0, bad);
        const write = () => memory.write(BASE + BigInt(offset), data);
        if (bad < 0) write();
        else expect(write).toThrow(Refusal);
        const list = memory.writes.map(({ bytes }) => Buffer.from(bytes));
        expect(Buffer.concat(list)).toEqual(Buffer.from(written));
        const inside = Math.max(Math.min(mapped.length - offset, written.length), 0);
        if (inside > 0)
          expect(Buffer.from(memory.read(BASE + BigInt(offset), inside))).toEqual(
            Buffer.from(data.subarray(0, inside)),
          );
      }),
    );
  });

  it('ends where the addresses of a process end', () => {
    const memory = new PieceMemory([]);
    expect(() => memory.write(0x7fff_ffff_effcn, new Uint8Array(8))).toThrow(Refusal);
    expect(() => memory.write(0xffff_ffff_ffff_fff8n, new Uint8Array(16))).toThrow(Refusal);
    expect(memory.writes).toEqual([]);
  });
});

describe('a client that sends nonsense', () => {
  let server: WireServer;
  const bugs: Error[] = [];
  beforeAll(async () => {
    server = await WireServer.listen(new MockHost(loadProfile('spr-1.5.05')), {
      report: (error) => {
        if (!(error instanceof ProtocolError)) bugs.push(error);
      },
    });
  });
  afterAll(() => server.close());

  it.each([
    ['bytes that are no message', [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
    ['a call before HELLO', [callMessage({ object: 1n })]],
    ['HELLO twice', [hello(), hello()]],
    ['a message on the connection of an object', [objectMessage(11n, 0), hello()]],
    ['an object that nobody made', [objectMessage(12n, 1)]],
    ['a call during a call', [hello(), callMessage({ object: 1n }), callMessage({ object: 1n })]],
  ])('%s: its connection is closed', async (_, messages) => {
    const socket = await TestSocket.connect(server.path);
    socket.send(Buffer.concat(messages));
    while (await socket.receive());
    expect(bugs).toEqual([]);
  });

  it('an id that is taken: its connection is closed, the object stays', async () => {
    const thread = await TestThread.start(server.path);
    const kvm = await thread.open();
    const thief = await TestSocket.connect(server.path);
    thief.send(objectMessage(kvm.id, 0));
    expect(await thief.receive()).toBeUndefined();
    expect(await thread.ioctl(kvm, 0xae00)).toMatchObject({ result: 12 });
    kvm.close();
    thread.end();
  });

  it('INTERRUPT without a call: nothing happens', async () => {
    const thread = await TestThread.start(server.path);
    const kvm = await thread.open();
    thread.channel.send(interruptMessage());
    expect(await thread.ioctl(kvm, 0xae00)).toMatchObject({ result: 12 });
    kvm.close();
    thread.end();
  });

  it('random bytes behind a correct start: an answer or the end, never a bug', async () => {
    await fc.assert(
      fc.asyncProperty(fc.boolean(), fc.uint8Array({ maxLength: 100 }), async (channel, data) => {
        const socket = await TestSocket.connect(server.path);
        socket.send(channel ? hello() : objectMessage(BigInt(data.length) + 1000n, 0));
        socket.send(data);
        socket.socket.end();
        while (await socket.receive());
        expect(bugs).toEqual([]);
      }),
      { numRuns: 60 },
    );
    expect(server.stats.objects).toBe(0);
  });

  it('random requests with random memory: an answer, never a bug', async () => {
    const thread = await TestThread.start(server.path);
    const kvm = await thread.open();
    const vm = await thread.make(kvm, 0xae01, 5n);
    if (typeof vm === 'number') throw new Error('no VM');
    const numbers = fc.oneof(
      u32,
      fc.integer({ min: 0, max: 255 }).map((nr) => 0xae00 + nr),
      fc.constantFrom(0x4068aea3, 0xc008aeba, 0x40a0ae49, 0xc040aed4, 0x4020aed2),
    );
    const someCall = fc.record({
      request: numbers,
      arg: fc.oneof(u64, fc.constant(0x1000n)),
      bytes: fc.uint8Array({ maxLength: 300 }),
      onVm: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(someCall, async ({ request, arg, bytes, onVm }) => {
        const pieces = [{ address: 0x1000n, bytes }];
        const { result } = await thread.call({ object: onVm ? vm.id : kvm.id, request, arg, pieces, newObject: 77n });
        expect(result).toBeGreaterThanOrEqual(-4095);
        expect(bugs).toEqual([]);
      }),
      { numRuns: 300 },
    );
    for (const { close } of [vm, kvm]) close();
    thread.end();
  });
});
