// A server that speaks the protocol of the preload library and knows nothing of KVM: answers are scripted by the test.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Piece {
  address: bigint;
  length: number;
  /** undefined: it could not be read. */
  bytes?: Buffer;
}

export interface Call {
  pid: number;
  tid: number;
  object: bigint;
  operation: number;
  request: number;
  argument: bigint;
  newObject: bigint;
  arguments: bigint[];
  pieces: Piece[];
  /** INTERRUPT was received. */
  interrupted: Promise<void>;
}

export interface Answer {
  result?: number;
  made?: boolean;
  /** A file of this content is there for the program. */
  file?: string;
  writes?: { address: bigint; bytes: Buffer }[];
  /** Sent in place of a result. */
  raw?: Buffer;
  hangUp?: boolean;
}

type Script = (call: Call) => Answer | Promise<Answer>;

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
};
const u64 = (value: bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt.asUintN(64, value));
  return bytes;
};

const framed = (type: number, ...parts: Buffer[]) => {
  const payload = Buffer.concat([u32(type), ...parts]);
  return Buffer.concat([u32(payload.length), payload]);
};

const nameOf = (kind: 'run' | 'file', id: bigint): string => `${kind}-${id.toString(16).padStart(16, '0')}`;

const RESULT = 129;
const resultMessage = ({ result = 0, made = false, file, writes = [] }: Answer): Buffer =>
  framed(
    RESULT,
    u64(BigInt(result)),
    u32((made ? 1 : 0) | (file === undefined ? 0 : 2)),
    u32(writes.length),
    ...writes.flatMap(({ address, bytes }) => [u64(address), u32(bytes.length), bytes]),
  );

/** What was seen of one connection. */
interface Seen {
  kind?: 'channel' | 'object';
  pid: number;
  tid: number;
  interrupt?: () => void;
}

export class FakeModel {
  readonly folder = mkdtempSync(join(tmpdir(), 'kvm-tdx-fake-'));
  readonly socket = join(this.folder, 'model');
  readonly calls: Call[] = [];
  /** Ids of objects whose connection is open. */
  readonly objects = new Set<bigint>();
  channels = 0;
  openChannels = 0;
  /** errno for OBJECT. */
  refuse = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(private readonly script: Script) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  async listen(): Promise<this> {
    await new Promise<void>((done) => this.#server.listen(this.socket, done));
    return this;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((done) => this.#server.close(done));
    rmSync(this.folder, { recursive: true });
  }

  /** The file that mmap() of a vCPU maps. */
  makeRunFile(id: bigint): void {
    writeFileSync(join(this.folder, nameOf('run', id)), Buffer.alloc(3 * 4096, 'r'));
  }

  #serve(socket: Socket): void {
    const seen: Seen = { pid: 0, tid: 0 };
    let buffer: Buffer = Buffer.alloc(0);
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      buffer = Buffer.concat([buffer, chunk]);
      while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32LE(0)) {
        const length = buffer.readUInt32LE(0);
        this.#take(socket, seen, buffer.subarray(4, 4 + length));
        buffer = buffer.subarray(4 + length);
      }
    });
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (seen.kind === 'channel') this.openChannels--;
      seen.interrupt?.();
    });
  }

  #take(socket: Socket, seen: Seen, message: Buffer): void {
    const type = message.readUInt32LE(0);
    if (type === 1) {
      seen.kind = 'channel';
      seen.pid = message.readUInt32LE(8);
      seen.tid = message.readUInt32LE(12);
      this.channels++;
      this.openChannels++;
    } else if (type === 2) {
      seen.kind = 'object';
      const id = message.readBigUInt64LE(12);
      if (this.refuse === 0) {
        this.objects.add(id);
        socket.on('close', () => this.objects.delete(id));
      }
      socket.write(framed(128, u32(this.refuse), u32(0)));
    } else if (type === 3) {
      void this.#call(socket, seen, message);
    } else if (type === 4) {
      seen.interrupt?.();
    } else {
      throw new Error(`the library sent a message of type ${type}`);
    }
  }

  async #call(socket: Socket, seen: Seen, message: Buffer): Promise<void> {
    const pieces: Piece[] = [];
    let at = 72;
    for (let left = message.readUInt32LE(68); left > 0; left--) {
      const address = message.readBigUInt64LE(at);
      const length = message.readUInt32LE(at + 8);
      const readable = message.readUInt32LE(at + 12) === 1;
      at += 16;
      pieces.push({ address, length, ...(readable && { bytes: message.subarray(at, at + length) }) });
      if (readable) at += length;
    }
    if (at !== message.length) throw new Error(`a call of ${message.length} bytes says it has ${at}`);
    const call: Call = {
      pid: seen.pid,
      tid: seen.tid,
      object: message.readBigUInt64LE(4),
      operation: message.readUInt32LE(12),
      request: message.readUInt32LE(16),
      argument: message.readBigUInt64LE(20),
      newObject: message.readBigUInt64LE(28),
      arguments: [0, 1, 2, 3].map((i) => message.readBigUInt64LE(36 + 8 * i)),
      pieces,
      interrupted: new Promise((done) => {
        seen.interrupt = done;
      }),
    };
    this.calls.push(call);
    const answer = await this.script(call);
    if (answer.file !== undefined) writeFileSync(join(this.folder, nameOf('file', call.newObject)), answer.file);
    if (answer.hangUp) socket.destroy();
    else socket.write(answer.raw ?? resultMessage(answer));
  }
}
