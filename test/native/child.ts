import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  milliseconds: number;
}

const LONGEST = 50_000;

/** Runs a program of a folder `children`, which uses what was built. It is killed if it does not end. */
export function runChild(
  /** Path from test/. */
  program: string,
  args: readonly string[] = [],
  nodeOptions: readonly string[] = [],
  onOutput: (text: string, child: ChildProcess) => void = () => {},
  env: Record<string, string> = {},
): Promise<Ended> {
  const path = fileURLToPath(new URL(`../${program}`, import.meta.url));
  const started = performance.now();
  const child = spawn(process.execPath, [...nodeOptions, path, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
    timeout: LONGEST,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    onOutput(String(chunk), child);
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({ code, signal, stdout, stderr, milliseconds: performance.now() - started }),
    );
  });
}
