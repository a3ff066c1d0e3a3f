import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const directory = mkdtempSync(join(tmpdir(), 'kvm-tdx-bench-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));

/** One measured comparison. `aim` is a sentence; nothing fails on a slow machine. */
export const report = (name, { ours, theirs, unit, ratio, aim }) => {
  const digits = (value) => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));
  const reference =
    theirs === undefined
      ? ''
      : `  reference ${digits(theirs)}  ratio ${ratio < 0.1 ? ratio.toPrecision(2) : ratio.toFixed(2)}`;
  console.log(`${name.padEnd(44)} ${digits(ours).padStart(9)} ${unit}${reference}${aim ? `  (aim: ${aim})` : ''}`);
};

/** Smallest of `rounds` results: the machine's noise only ever adds. */
export const best = async (rounds, measure) => {
  let smallest = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) smallest = Math.min(smallest, await measure());
  return smallest;
};

/** Nanoseconds per call of `body`, which runs `n` operations. */
export const nsPer = (n, body) => {
  const start = process.hrtime.bigint();
  body(n);
  return Number(process.hrtime.bigint() - start) / n;
};

/** A C program of this folder, compiled on the spot. @returns its path, undefined without a compiler. */
export function compileC(name) {
  const binary = join(directory, name);
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  return spawnSync('cc', ['-O2', '-o', binary, source], { stdio: 'inherit' }).status === 0 ? binary : undefined;
}

/** The C twin. @returns undefined without a compiler or without /dev/kvm. */
export function twin() {
  const binary = compileC('twin');
  if (binary === undefined) return undefined;
  return (...args) => {
    const { status, stdout } = spawnSync(binary, args.map(String), { encoding: 'utf8' });
    return status === 0 ? Number(stdout) : undefined;
  };
}

/** Milliseconds of a whole process. */
export const processMs = (args) => {
  const start = process.hrtime.bigint();
  const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' });
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}`);
  return Number(process.hrtime.bigint() - start) / 1e6;
};
