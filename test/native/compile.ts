import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = join(root, 'build', 'test');

/** Without a sanitizer that these tests may run under: compilers leak. */
const env = { ...process.env, LD_PRELOAD: '' };

const works = (compiler: string): boolean => spawnSync(compiler, ['--version'], { env }).status === 0;
const onLinux = process.platform === 'linux' && process.arch === 'x64';

/** The compilers of this machine, where it has both. */
export const compilers = onLinux && works('c++') && works('cc') ? ({ cc: 'c++', c: 'cc' } as const) : undefined;

if (compilers === undefined) console.log('native tests in C++ are skipped, no compiler was found (c++, cc)');

/**
 * Builds a test program of files in native/, all as one, once for each state of that folder.
 * @returns the program's path.
 */
export function compile(name: string, files: readonly string[], flags: readonly string[] = []): string {
  const hash = createHash('sha256').update(JSON.stringify([files, flags]));
  for (const part of ['native/core', 'native/test']) {
    for (const file of readdirSync(join(root, part)).sort()) hash.update(readFileSync(join(root, part, file)));
  }
  const program = join(folder, `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${program}.${process.pid}`;
  const language = files[0]!.endsWith('.c') ? 'c' : 'cc';
  const source = `${unfinished}.${language}`;
  writeFileSync(source, files.map((file) => `#include "${join(root, 'native', file)}"\n`).join(''));
  const standard = language === 'c' ? '-std=gnu11' : '-std=gnu++20';
  const built = spawnSync(compilers![language], [standard, '-Wall', '-Wextra', ...flags, '-o', unfinished, source], {
    encoding: 'utf8',
    env,
  });
  if (built.status !== 0) throw new Error(`${name} does not compile:\n${built.stderr}`);
  renameSync(unfinished, program);
  return program;
}
