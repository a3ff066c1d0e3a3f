import { randomBytes } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';

/** A piece of memory that goes with a call; `null` bytes cannot be read. */
export interface TestPiece {
  address: bigint;
  bytes: Uint8Array | null;
  /** Of what cannot be read. */
  length?: number;
}

export interface TestResult {
  /** >= 0 what the system call returns, < 0 -errno. */
  result: number;
  made: boolean;
  /** A file for the program is in the socket's folder. */
  file: boolean;
  writes: { address: bigint; bytes: Buffer }[];
}

export interface TestCall {
  object: bigint;
  operation?: number;
  request?: number;
  arg?: bigint;
  newObject?: bigint;
  operands?: bigint[];
  pieces?: TestPiece[];
}

const u32 = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value >>> 0);
  return buffer;
};

const u64 = (value: bigint): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt.asUintN(64, value));
  return buffer;
};

export const message = (type: number, ...parts: Uint8Array[]): Buffer => {
  const body = Buffer.concat([u32(type), ...parts]);
  return Buffer.concat([u32(body.length), body]);
};

export const hello = (pid = process.pid, version = 1): Buffer => message(1, u32(version), u32(pid), u32(1));

export const objectMessage = (id: bigint, how: number, version = 1): Buffer =>
  message(2, u32(version), u32(process.pid), u64(id), u32(how));

export const callMessage = (call: TestCall): Buffer => {
  const { object, operation = 0, request = 0, arg = 0n, newObject = 0n, operands = [], pieces = [] } = call;
  const listed = pieces.flatMap(({ address, bytes, length }) => [
    u64(address),
    u32(bytes?.length ?? length ?? 0),
    u32(bytes ? 1 : 0),
    bytes ?? Buffer.alloc(0),
  ]);
  return message(
    3,
    u64(object),
    u32(operation),
    u32(request),
    u64(arg),
    u64(newObject),
    ...[0, 1, 2, 3].map((i) => u64(operands[i] ?? 0n)),
    u32(pieces.length),
    ...listed,
  );
};

export const interruptMessage = (): Buffer => message(4);

/** A socket that is read message by message. */
export class TestSocket {
  #received = Buffer.alloc(0);
  #ended = false;
  #wake = () => {};

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake();
    });
    socket.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
    socket.on('error', () => {});
  }

  static connect(path: string): Promise<TestSocket> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path, () => resolve(new TestSocket(socket)));
      socket.once('error', reject);
    });
  }

  send(data: Uint8Array): void {
    this.socket.write(data);
  }

  /** The next message without its length; undefined when the server has closed the connection. */
  async receive(): Promise<Buffer | undefined> {
    for (;;) {
      if (this.#received.length >= 4) {
        const length = this.#received.readUInt32LE(0);
        if (this.#received.length >= 4 + length) {
          const data = this.#received.subarray(4, 4 + length);
          this.#received = this.#received.subarray(4 + length);
          return data;
        }
      }
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.socket.destroy();
  }
}

export function decodeResult(data: Buffer): TestResult {
  if (data.readUInt32LE(0) !== 129) throw new Error(`message ${data.readUInt32LE(0)}, expected RESULT`);
  const writes: TestResult['writes'] = [];
  let at = 20;
  for (let left = data.readUInt32LE(16); left > 0; left--) {
    const length = data.readUInt32LE(at + 8);
    writes.push({ address: data.readBigUInt64LE(at), bytes: data.subarray(at + 12, at + 12 + length) });
    at += 12 + length;
  }
  if (at !== data.length) throw new Error(`RESULT of ${data.length} bytes, expected ${at}`);
  return {
    result: Number(data.readBigInt64LE(4)),
    made: (data.readUInt32LE(12) & 1) === 1,
    file: (data.readUInt32LE(12) & 2) === 2,
    writes,
  };
}

/** A descriptor of the test's: the connection that stands for it. */
export interface Descriptor {
  id: bigint;
  close(): void;
}

/** Where a structure that a test passes lies in the memory it pretends to have. */
export const ARGUMENT = 0x5000_0000n;

/** A thread of a program that uses the model, without the preload library and without memory of its own. */
export class TestThread {
  private constructor(
    readonly path: string,
    readonly channel: TestSocket,
  ) {}

  static async start(path: string, pid = process.pid): Promise<TestThread> {
    const channel = await TestSocket.connect(path);
    channel.send(hello(pid));
    return new TestThread(path, channel);
  }

  async #object(id: bigint, how: number): Promise<Descriptor> {
    const socket = await TestSocket.connect(this.path);
    socket.send(objectMessage(id, how));
    const answer = await socket.receive();
    if (answer?.readInt32LE(4) !== 0) throw new Error('the object was refused');
    return { id, close: () => socket.close() };
  }

  /** open("/dev/kvm"). */
  open(): Promise<Descriptor> {
    return this.#object(randomBytes(8).readBigUInt64LE(), 0);
  }

  async call(call: TestCall): Promise<TestResult> {
    this.channel.send(callMessage(call));
    const answer = await this.channel.receive();
    if (!answer) throw new Error('the server has closed the channel');
    return decodeResult(answer);
  }

  /** ioctl() with a number. */
  ioctl(object: Descriptor, request: number, arg = 0n): Promise<TestResult> {
    return this.call({ object: object.id, request, arg });
  }

  /** ioctl() that makes a descriptor; a negative result is an errno. */
  async make(object: Descriptor, request: number, arg: bigint | Uint8Array): Promise<Descriptor | number> {
    const newObject = randomBytes(8).readBigUInt64LE();
    const pieces = typeof arg === 'bigint' ? [] : [{ address: ARGUMENT, bytes: arg }];
    const argument = typeof arg === 'bigint' ? arg : ARGUMENT;
    const { result, made } = await this.call({ object: object.id, request, arg: argument, newObject, pieces });
    return made ? this.#object(newObject, 1) : result;
  }

  /** ioctl() with a structure, which comes back as it is afterwards. `more` lies at addresses of its own. */
  async struct(
    object: Descriptor,
    request: number,
    bytes: Uint8Array,
    more: TestPiece[] = [],
    operands: bigint[] = [],
  ): Promise<TestResult & { bytes: Buffer }> {
    const pieces = [{ address: ARGUMENT, bytes }, ...more];
    const answer = await this.call({ object: object.id, request, arg: ARGUMENT, pieces, operands });
    const after = Buffer.from(bytes);
    for (const write of answer.writes) {
      const at = Number(write.address - ARGUMENT);
      if (at >= 0 && at < after.length) write.bytes.copy(after, at);
    }
    return { ...answer, bytes: after };
  }

  interrupt(): void {
    this.channel.send(interruptMessage());
  }

  end(): void {
    this.channel.close();
  }
}
