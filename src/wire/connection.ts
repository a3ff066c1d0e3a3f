import type { Socket } from 'node:net';
import type { MockHost } from '../mock/kernel/host.js';
import { SystemObject, type WireObject } from './objects.js';
import type { Processes, ProcessTask } from './process-memory.js';
import {
  type CallMessage,
  type ClientMessage,
  decodeMessage,
  encodeObjectOk,
  encodeResult,
  type Hello,
  MessageStream,
  type ObjectMessage,
  ProtocolError,
  type ResultMessage,
} from './protocol.js';
import type { Call } from './requests/request.js';
import { callOf, type Served, type Shared, serve } from './serve.js';
import { PieceMemory } from './user-memory.js';

export type Watch = (
  message: CallMessage,
  call: Call,
  thread: Hello,
  object: WireObject | undefined,
) => (served: Served) => void;

/** What a connection needs of its server. */
export interface ConnectionHost extends Shared {
  readonly host: MockHost;
  readonly processes: Processes;
  /** Called before a call is answered; what it returns is called with the answer. */
  readonly watch?: Watch | undefined;
  /** Bytes that are no message, or a bug of ours. */
  readonly report: (error: Error) => void;
}

/** A thread that makes calls. */
interface Channel {
  readonly channel: Hello;
  readonly task: ProcessTask;
}

/**
 * Until what was closed before a call was made is seen to be closed: close() is over when it returns, but here it is one
 * event among those of other connections, and may come behind the call's. The second look at all of them has it.
 */
const closedDescriptors = (): Promise<void> => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** One connection: a thread's channel for its calls, or the server's end of a program's descriptor. */
export class Connection {
  readonly #stream = new MessageStream();
  #role: Channel | { object: bigint } | undefined;
  /** Of the call under way. */
  #call: AbortController | undefined;
  /** Made by the last call, not taken over yet. */
  #offered: bigint | undefined;

  constructor(
    private readonly server: ConnectionHost,
    private readonly socket: Socket,
  ) {
    socket.setNoDelay();
    socket.on('data', (chunk) => this.#receive(chunk));
    // The first sign that the other end is closed counts: the program's next request may be here already.
    for (const sign of ['end', 'error', 'close'] as const) socket.on(sign, () => this.#closed());
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const data of this.#stream.push(chunk)) this.#take(decodeMessage(data));
    } catch (error) {
      this.server.report(error as Error);
      this.socket.destroy();
    }
  }

  #take(message: ClientMessage): void {
    const role = this.#role;
    if (!role) {
      if (message.type === 'hello') this.#role = { channel: message, task: this.server.processes.of(message.pid) };
      else if (message.type === 'object') this.#open(message);
      else throw new ProtocolError(`first message is ${message.type.toUpperCase()}, expected HELLO or OBJECT`);
      return;
    }
    if ('object' in role) throw new ProtocolError(`${message.type.toUpperCase()} on the connection of an object`);
    // It may cross with the answer: then there is nothing to interrupt.
    if (message.type === 'interrupt') {
      this.#call?.abort();
      return;
    }
    if (message.type !== 'call') throw new ProtocolError(`second ${message.type.toUpperCase()} on a channel`);
    if (this.#call) throw new ProtocolError('CALL while a call is under way');
    void this.#serve(message, role);
  }

  /** The connection becomes a descriptor: of a new /dev/kvm, or of what a call has made. */
  #open({ id, how }: ObjectMessage): void {
    const { objects, host } = this.server;
    const known = objects.has(id);
    if (known !== (how === 'adopt'))
      throw new ProtocolError(`object ${id.toString(16)} is ${known ? '' : 'not '}there`);
    if (how === 'open') objects.add(id, new SystemObject(host));
    else objects.adopt(id);
    this.#role = { object: id };
    this.socket.write(encodeObjectOk(0));
  }

  async #serve(message: CallMessage, { channel, task }: Channel): Promise<void> {
    const { objects } = this.server;
    this.#dropOffered();
    const controller = new AbortController();
    this.#call = controller;
    try {
      const served = await objects.during(message.object, async (object) => {
        await closedDescriptors();
        return this.#answer(object, message, channel, task, controller.signal);
      });
      if (served.made) this.#offered = message.newObject;
      this.#call = undefined;
      if (this.socket.destroyed) this.#dropOffered();
      else this.socket.write(encodeResult(served));
    } catch (error) {
      this.#call = undefined;
      this.server.report(error as Error);
      this.socket.destroy();
    }
  }

  async #answer(
    object: WireObject | undefined,
    message: CallMessage,
    thread: Hello,
    task: ProcessTask,
    signal: AbortSignal,
  ): Promise<ResultMessage> {
    task.beginRequest();
    const memory = new PieceMemory(message.pieces);
    const call = callOf(message, memory, this.server, task, signal);
    const done = this.server.watch?.(message, call, thread, object);
    const served = await serve(object, message, call, memory, this.server);
    done?.(served);
    return served.message;
  }

  /** What the program did not take over before its next call, it never will. */
  #dropOffered(): void {
    if (this.#offered !== undefined) this.server.objects.dropUnadopted(this.#offered);
    this.#offered = undefined;
  }

  /** The program closed it, or is gone. */
  #closed(): void {
    this.#call?.abort();
    if (!this.#call) this.#dropOffered();
    if (this.#role && 'object' in this.#role) this.server.objects.close(this.#role.object);
  }
}
