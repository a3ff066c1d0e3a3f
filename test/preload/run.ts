import { spawn } from 'node:child_process';

export interface Ran {
  /** Exit status, or the signal that ended it. */
  status: number | string;
  /** Of both kinds, in the order in which it came. */
  output: string;
}

/** Runs a program with the model at a socket in place of KVM. */
export function run(
  program: string,
  args: readonly string[],
  socket: string,
  preload: readonly string[],
): Promise<Ran> {
  const child = spawn(program, args, {
    env: {
      ...process.env,
      LD_PRELOAD: preload.join(':'),
      KVM_TDX_MOCK: socket,
      ASAN_OPTIONS: 'detect_leaks=0:handle_abort=0',
    },
    timeout: 30_000,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
    });
  }
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (code, signal) => done({ status: code ?? signal ?? '', output }));
  });
}
