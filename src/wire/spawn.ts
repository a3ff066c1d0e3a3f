import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import type { MockHost } from '../mock/kernel/host.js';
import { preloadLibrary } from './preload.js';
import { WireServer } from './server.js';
import { Recorder, type RequestRecord } from './trace/record.js';

export interface SpawnOptions {
  /** As for child_process.spawn; default: this process's. */
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** As for child_process.spawn; default `inherit`. */
  stdio?: StdioOptions;
  /** Ends the program with SIGTERM. */
  signal?: AbortSignal;
  /** Called with each request that the program and its children make, when it is answered. */
  onRequest?: (record: RequestRecord) => void;
  /** Called once the program runs; its pipes are those of `stdio`. */
  onStart?: (child: ChildProcess) => void;
}

/** How a program ended. */
export interface SpawnResult {
  /** Its exit status, null where a signal ended it. */
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  /** Whether it, or a child of it, ever came to the model: a statically linked program does not. */
  connected: boolean;
}

/** The environment in which a program finds the model. What else is preloaded stays so, and stays first: sanitizers insist. */
export const mockEnvironment = (server: WireServer, env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv => ({
  ...env,
  LD_PRELOAD: [env['LD_PRELOAD'], preloadLibrary()].filter(Boolean).join(':'),
  KVM_TDX_MOCK: server.path,
});

/**
 * Runs an unmodified, dynamically linked program whose `/dev/kvm` is a modelled TDX host, and waits for its end. Its
 * children inherit the model; whatever they leave open is closed with it.
 *
 * @param command found as execvp() finds it; no shell reads it.
 * @throws PreloadError (ERR_KVM_NO_PRELOAD) where the preload library is not built, or not on Linux on x64.
 * @throws the system's error (ENOENT, EACCES) where the program cannot be started.
 */
export async function spawnWithMock(
  host: MockHost,
  command: string,
  args: readonly string[] = [],
  options: SpawnOptions = {},
): Promise<SpawnResult> {
  const { onRequest, onStart, signal, env, cwd, stdio = 'inherit' } = options;
  preloadLibrary();
  let bug: Error | undefined;
  const recorder = onRequest && new Recorder(onRequest);
  const server = await WireServer.listen(host, {
    ...(recorder && { watch: (...call) => recorder.begin(...call) }),
    report: (error) => {
      if (error.name !== 'ProtocolError') bug ??= error;
    },
  });
  try {
    const child = spawn(command, args, {
      env: mockEnvironment(server, env),
      stdio,
      ...(cwd !== undefined && { cwd }),
      ...(signal && { signal, killSignal: 'SIGTERM' as const }),
    });
    child.once('spawn', () => onStart?.(child));
    const ended = await endOf(child, signal);
    if (bug) throw bug;
    return { ...ended, connected: server.connected };
  } finally {
    await server.close();
  }
}

function endOf(
  child: ChildProcess,
  signal: AbortSignal | undefined,
): Promise<Pick<SpawnResult, 'exitCode' | 'signal'>> {
  return new Promise((resolve, reject) => {
    // An abort kills the program; how it ended is what counts.
    child.on('error', (error) => {
      if (!signal?.aborted || child.pid === undefined) reject(error);
    });
    child.once('close', (exitCode, by) => resolve({ exitCode, signal: by }));
  });
}
