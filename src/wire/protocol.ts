// Messages between a preloaded program and the server (docs/wire-protocol.md): u32 length of what follows, u32 type,
// payload; all numbers little endian.
import type { Piece, Write } from './user-memory.js';

export const PROTOCOL_VERSION = 1;
/** Bytes behind the length of a message. */
export const MAX_MESSAGE = 64 << 20;
/** No request has more than a structure and 16 arrays behind it. */
const MAX_PIECES = 64;

const TYPE = { HELLO: 1, OBJECT: 2, CALL: 3, INTERRUPT: 4, OBJECT_OK: 128, RESULT: 129 } as const;

/** A thread introduces itself. */
export interface Hello {
  type: 'hello';
  version: number;
  pid: number;
  tid: number;
}

/** A connection that is a descriptor of the program's. */
export interface ObjectMessage {
  type: 'object';
  version: number;
  pid: number;
  id: bigint;
  /** `open`: of /dev/kvm, makes the object; `adopt`: of an object that a call has just made. */
  how: 'open' | 'adopt';
}

export interface CallMessage {
  type: 'call';
  object: bigint;
  operation: 'ioctl' | 'fallocate' | 'mmap';
  /** ioctl number. */
  request: number;
  /** Third argument of ioctl(). */
  arg: bigint;
  /** The id for an object that the request makes. */
  newObject: bigint;
  /**
   * fallocate: mode, offset, length; mmap: length, prot, flags, offset; an ioctl whose structure names a descriptor: the id of
   * its object, 0 for none of ours, and 1 if the descriptor is open.
   */
  operands: readonly [bigint, bigint, bigint, bigint];
  pieces: Piece[];
}

export interface Interrupt {
  type: 'interrupt';
}

export type ClientMessage = Hello | ObjectMessage | CallMessage | Interrupt;

/** Bytes that are no message of this protocol. The connection that they came from is closed. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

const OPERATIONS = ['ioctl', 'fallocate', 'mmap'] as const;
const HOWS = ['open', 'adopt'] as const;

/** Takes a payload apart; every read is checked against its end. */
class Reader {
  #at = 0;
  readonly #view: DataView;

  constructor(private readonly data: Uint8Array) {
    this.#view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.data.length - at)
      throw new ProtocolError(`message ends at byte ${this.data.length}, expected ${length} more from byte ${at}`);
    this.#at = at + length;
    return at;
  }

  u32 = (): number => this.#view.getUint32(this.#take(4), true);
  u64 = (): bigint => this.#view.getBigUint64(this.#take(8), true);

  /** A copy: pieces are written to, and the buffer of a socket is not ours for long. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return new Uint8Array(this.data.subarray(at, at + length));
  }

  oneOf<T>(what: string, names: readonly T[]): T {
    const value = this.u32();
    const name = names[value];
    if (name === undefined) throw new ProtocolError(`${what} is ${value}, expected 0 to ${names.length - 1}`);
    return name;
  }

  end(): void {
    if (this.#at < this.data.length)
      throw new ProtocolError(`message has ${this.data.length} bytes, expected ${this.#at}`);
  }
}

function readPiece(reader: Reader): Piece {
  const address = reader.u64();
  const length = reader.u32();
  const readable = reader.oneOf('readable', [false, true]);
  return readable ? { address, bytes: reader.bytes(length) } : { address, unreadable: length };
}

function readPieces(reader: Reader): Piece[] {
  const count = reader.u32();
  if (count > MAX_PIECES) throw new ProtocolError(`call has ${count} pieces, expected at most ${MAX_PIECES}`);
  return Array.from({ length: count }, () => readPiece(reader));
}

function readMessage(reader: Reader): ClientMessage {
  const type = reader.u32();
  switch (type) {
    case TYPE.HELLO:
      return { type: 'hello', version: reader.u32(), pid: reader.u32(), tid: reader.u32() };
    case TYPE.OBJECT:
      return {
        type: 'object',
        version: reader.u32(),
        pid: reader.u32(),
        id: reader.u64(),
        how: reader.oneOf('how', HOWS),
      };
    case TYPE.CALL:
      return {
        type: 'call',
        object: reader.u64(),
        operation: reader.oneOf('operation', OPERATIONS),
        request: reader.u32(),
        arg: reader.u64(),
        newObject: reader.u64(),
        operands: [reader.u64(), reader.u64(), reader.u64(), reader.u64()],
        pieces: readPieces(reader),
      };
    case TYPE.INTERRUPT:
      return { type: 'interrupt' };
    default:
      throw new ProtocolError(`message is of type ${type}, expected HELLO, OBJECT, CALL or INTERRUPT`);
  }
}

/** A message without its length. @throws ProtocolError. */
export function decodeMessage(data: Uint8Array): ClientMessage {
  const reader = new Reader(data);
  const message = readMessage(reader);
  reader.end();
  if ((message.type === 'hello' || message.type === 'object') && message.version !== PROTOCOL_VERSION)
    throw new ProtocolError(`version ${message.version} of the protocol, expected ${PROTOCOL_VERSION}`);
  return message;
}

/** Messages out of a stream, however it is cut. */
export class MessageStream {
  #chunks: Uint8Array[] = [];
  #size = 0;

  /** The messages that are whole with this chunk, their lengths removed. @throws ProtocolError. */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= 4) {
      const length = this.#length();
      if (length < 4 || length > MAX_MESSAGE)
        throw new ProtocolError(`message of ${length} bytes, expected 4 to ${MAX_MESSAGE}`);
      if (this.#size < 4 + length) return;
      const all = this.#join();
      this.#chunks = all.length > 4 + length ? [all.subarray(4 + length)] : [];
      this.#size -= 4 + length;
      yield all.subarray(4, 4 + length);
    }
  }

  #length(): number {
    if (this.#chunks[0]!.length < 4) this.#join();
    const first = this.#chunks[0]!;
    return new DataView(first.buffer, first.byteOffset, 4).getUint32(0, true);
  }

  #join(): Uint8Array {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }
}

/** Answers OBJECT. @param errno positive, 0 for success. */
export function encodeObjectOk(errno: number): Uint8Array {
  const data = new Uint8Array(16);
  const view = new DataView(data.buffer);
  view.setUint32(0, 12, true);
  view.setUint32(4, TYPE.OBJECT_OK, true);
  view.setInt32(8, errno, true);
  return data;
}

/** What a call came to. */
export interface ResultMessage {
  /** What the system call returns, or -errno. */
  result: bigint;
  /** The object under `newObject` was made. */
  made?: boolean;
  /** A file named by `newObject` is in the socket's folder, for the program to open. */
  file?: boolean;
  writes: readonly Write[];
}

export function encodeResult({ result, made = false, file = false, writes }: ResultMessage): Uint8Array {
  const size = writes.reduce((sum, { bytes }) => sum + 12 + bytes.length, 24);
  const data = new Uint8Array(size);
  const view = new DataView(data.buffer);
  view.setUint32(0, size - 4, true);
  view.setUint32(4, TYPE.RESULT, true);
  view.setBigInt64(8, result, true);
  view.setUint32(16, (made ? 1 : 0) | (file ? 2 : 0), true);
  view.setUint32(20, writes.length, true);
  let at = 24;
  for (const { address, bytes } of writes) {
    view.setBigUint64(at, address, true);
    view.setUint32(at + 8, bytes.length, true);
    data.set(bytes, at + 12);
    at += 12 + bytes.length;
  }
  return data;
}
