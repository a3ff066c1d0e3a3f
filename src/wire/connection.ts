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

/** One connection: a thread's channel for its calls, or the server's end of a program's descriptor. */
export class Connection {
  readonly #stream = new MessageStream();
  #role: { channel: Hello; task: ProcessTask } | { object: bigint } | undefined;
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
    // Whoever is gone cannot be told so.
    socket.on('error', () => {});
    socket.on('close', () => this.#closed());
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
    void this.#serve(message, role.channel, role.task);
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

  async #serve(message: CallMessage, hello: Hello, task: ProcessTask): Promise<void> {
    const { objects } = this.server;
    this.#dropOffered();
    task.beginRequest();
    const controller = new AbortController();
    this.#call = controller;
    const memory = new PieceMemory(message.pieces);
    const call = callOf(message, memory, this.server, task, controller.signal);
    try {
      const done = this.server.watch?.(message, call, hello, objects.find(message.object));
      const served = await objects.during(message.object, (object) =>
        serve(object, message, call, memory, this.server),
      );
      if (served.message.made) this.#offered = message.newObject;
      done?.(served);
      this.#call = undefined;
      if (this.socket.destroyed) this.#dropOffered();
      else this.socket.write(encodeResult(served.message));
    } catch (error) {
      this.#call = undefined;
      this.server.report(error as Error);
      this.socket.destroy();
    }
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
