import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const PROGRAM = fileURLToPath(new URL('../../bin/tdxctl.js', import.meta.url));

export interface Run {
  code: number | null;
  out: string;
  err: string;
  /** Standard output as JSON. */
  json(): Record<string, unknown>;
}

export interface RunOptions {
  env?: Record<string, string>;
  input?: string;
}

/** Runs the built program as a script would, without a terminal. */
export function tdxctl(args: readonly string[], { env = {}, input = '' }: RunOptions = {}): Run {
  const {
    KVM_TDX_BACKEND: _backend,
    NO_COLOR: _color,
    FORCE_COLOR: _force,
    TDXCTL_DEBUG: _debug,
    ...rest
  } = process.env;
  const { status, stdout, stderr, error } = spawnSync(process.execPath, [PROGRAM, ...args], {
    env: { ...rest, ...env },
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  return { code: status, out: stdout, err: stderr, json: () => JSON.parse(stdout) as Record<string, unknown> };
}

/** A folder for a test file's files, gone afterwards. */
export function temporaryFolder(): (name: string, content: string | Uint8Array) => string {
  const folder = mkdtempSync(join(tmpdir(), 'tdxctl-test-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  return (name, content) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
}

/** Runs a shell line in which `$TDXCTL` is the program; for pipes and terminals. */
export function shell(line: string): { code: number | null; out: string; err: string } {
  const env = { ...process.env, TDXCTL: `${process.execPath} ${PROGRAM}` };
  const { status, stdout, stderr } = spawnSync('bash', ['-c', line], { encoding: 'utf8', env });
  return { code: status, out: stdout, err: stderr };
}
