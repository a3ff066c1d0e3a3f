// However a process or a worker ends, at whatever stage: quickly, with its own exit status, leaving nothing behind.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { nativeStatus } from '../../src/native/index.js';

const library = new URL('../../dist/native/index.js', import.meta.url);
const script = fileURLToPath(new URL('stages.mjs', import.meta.url));
const status = nativeStatus();
const built = existsSync(library);
if (status.available && !built) console.log('lifecycle tests are skipped, dist/ is not built (npm run build)');

const LIMIT_MS = 10_000;

/** Ends after which Node itself does not return its memory; under the address sanitizer these are not its business. */
const abrupt = new Set(['process.exit', 'an uncaught exception', 'SIGTERM']);

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  output: string;
  milliseconds: number;
}

function runStage(stage: string, end: string): Promise<Ended> {
  const started = performance.now();
  const child = spawn(process.execPath, [script, JSON.stringify({ library: library.href, stage, end })], {
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
    env: abrupt.has(end) ? { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' } : process.env,
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, output, milliseconds: performance.now() - started }));
  });
}

const stages = [
  'opened',
  'vm',
  'vcpu',
  'running',
  'four running',
  'after an exit',
  'running after an exit',
  'closed while running',
  'closed',
];

describe.skipIf(!status.available || !built)('a process', () => {
  describe.each(stages)('at the stage "%s"', (stage) => {
    it('ends by process.exit with the status asked for', async () => {
      expect(await runStage(stage, 'process.exit')).toMatchObject({ code: 7, signal: null });
    });

    it('ends by an uncaught exception with status 1', async () => {
      const ended = await runStage(stage, 'an uncaught exception');
      expect(ended).toMatchObject({ code: 1, signal: null });
      expect(ended.output).toContain('on purpose');
    });

    it('ends by SIGTERM', async () => {
      expect(await runStage(stage, 'SIGTERM')).toMatchObject({ code: null, signal: 'SIGTERM' });
    });

    it('ends once everything is closed', async () => {
      expect(await runStage(stage, 'closing and nothing more to do')).toMatchObject({ code: 0, signal: null });
    });

    it('ends its worker by terminate(), and goes on', async () => {
      const ended = await runStage(stage, 'worker');
      expect(ended).toMatchObject({ code: 0, signal: null });
      expect(ended.output).toContain('terminated\n');
    });
  });

  it.each(['opened', 'vm', 'vcpu', 'after an exit'])('ends by itself at "%s", as nothing runs', async (stage) => {
    expect(await runStage(stage, 'nothing more to do')).toMatchObject({ code: 0, signal: null });
  });

  it('tells a run that was closed so before it ends', async () => {
    const ended = await runStage('running', 'closing and nothing more to do');
    expect(ended.output).toBe('ended ERR_KVM_CLOSED\n');
  });
});
