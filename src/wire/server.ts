import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MockHost } from '../mock/kernel/host.js';
import { Connection, type ConnectionHost } from './connection.js';
import { ObjectTable } from './object-table.js';
import { Processes } from './process-memory.js';

/** Bytes of sockaddr_un.sun_path, with the zero at its end. */
const MAX_PATH = 108;

export interface WireServerOptions {
  /** Called with each call and its result. */
  watch?: ConnectionHost['watch'];
  /** Called with bytes that were no message (ProtocolError) and with bugs of the model; by default nothing is said. */
  report?: (error: Error) => void;
}

/** A private folder whose path leaves room for a socket's. */
function makeFolder(): string {
  const folders = [tmpdir(), '/tmp'].filter((folder) => join(folder, 'kvm-tdx-XXXXXX', 'socket').length < MAX_PATH);
  return mkdtempSync(join(folders[0] ?? '/tmp', 'kvm-tdx-'));
}

/**
 * The `/dev/kvm` of a modelled host for programs that were started with the preload library and KVM_TDX_MOCK: a socket in
 * a folder of its own. Any number of programs, threads and VMs; what a program leaves behind is released as KVM would.
 */
export class WireServer {
  readonly #server: Server;
  readonly #objects = new ObjectTable();
  readonly #processes = new Processes();
  readonly #sockets = new Set<Socket>();
  readonly #folder = makeFolder();
  #connected = false;
  #closed: Promise<void> | undefined;

  private constructor(
    readonly host: MockHost,
    { watch, report = () => {} }: WireServerOptions,
  ) {
    const shared: ConnectionHost = {
      host,
      objects: this.#objects,
      processes: this.#processes,
      folder: this.#folder,
      watch,
      report,
    };
    this.#server = createServer((socket) => {
      this.#connected = true;
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      new Connection(shared, socket);
    });
  }

  /** Starts to listen. @throws the system's error where no socket can be made. */
  static async listen(host: MockHost, options: WireServerOptions = {}): Promise<WireServer> {
    const server = new WireServer(host, options);
    await new Promise<void>((resolve, reject) => {
      server.#server.once('error', reject).listen(server.path, () => {
        server.#server.removeListener('error', reject);
        resolve();
      });
    }).catch((error) => {
      rmSync(server.#folder, { recursive: true, force: true });
      throw error;
    });
    host.systems++;
    return server;
  }

  /** What KVM_TDX_MOCK of a program has to be. */
  get path(): string {
    return join(this.#folder, 'socket');
  }

  /** Whether a program ever came. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Connections and objects at this moment, for tests that look for leaks. */
  get stats(): { connections: number; objects: number } {
    return { connections: this.#sockets.size, objects: this.#objects.size };
  }

  /** Takes `/dev/kvm` away from the programs that still use it and leaves nothing behind. Safe to call twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const ended = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await ended;
    await this.#objects.closeAll();
    this.#processes.close();
    this.host.systems--;
    this.host.release();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
