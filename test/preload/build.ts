// Compiles what the tests of the preload library need: its own tests, the clients, the library under sanitizers.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildPreload, preloadLibrary } from '../../scripts/preload-library.mjs';
import { compilers, root } from '../native/compile.js';

export { compilers, root } from '../native/compile.js';

const folder = join(root, 'build', 'test');
const env = { ...process.env, LD_PRELOAD: '' };
export const SANITIZED = ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'];

/** Of every file that a program here may be made of. */
function fingerprint(...what: readonly unknown[]): string {
  const hash = createHash('sha256').update(JSON.stringify(what));
  for (const part of [
    'native/preload',
    'native/preload/test',
    'native/test',
    'test/clients',
    'test/preload/programs',
  ]) {
    for (const name of readdirSync(join(root, part)).sort()) {
      const path = join(root, part, name);
      if (statSync(path).isFile()) hash.update(readFileSync(path));
    }
  }
  return hash.digest('hex').slice(0, 16);
}

/** The path of what `make` makes, made once for each state of the sources. @throws what the compiler said. */
function once(name: string, what: readonly unknown[], make: (path: string) => string | undefined): string {
  const path = join(folder, `${name}-${fingerprint(...what)}`);
  if (existsSync(path)) return path;
  mkdirSync(folder, { recursive: true });
  const unfinished = `${path}.${process.pid}`;
  const failed = make(unfinished);
  if (failed !== undefined) throw new Error(`${name} does not compile:\n${failed}`);
  renameSync(unfinished, path);
  return path;
}

function compile(compiler: string, args: readonly string[]): string | undefined {
  const built = spawnSync(compiler, args, { encoding: 'utf8', env });
  return built.status === 0 ? undefined : `${built.error ?? ''}${built.stderr}`;
}

const warnings = ['-Wall', '-Wextra', '-Werror'];

/** The C++ tests of native/preload, with all of the library but what takes over libc's functions. */
export function preloadTests(): string {
  return once('preload-core', SANITIZED, (path) => {
    const files = ['native/preload', 'native/preload/test'].flatMap((part) =>
      readdirSync(join(root, part))
        .filter((name) => name.endsWith('.cc') && name !== 'interpose.cc')
        .map((name) => join(root, part, name)),
    );
    const source = `${path}.cc`;
    writeFileSync(source, files.map((file) => `#include "${file}"\n`).join(''));
    return compile(compilers!.cc, ['-std=gnu++20', ...warnings, ...SANITIZED, '-o', path, source]);
  });
}

function cProgram(source: string, name: string, flags: readonly string[]): string {
  const shared = ['client.c', 'guest.S'].map((file) => join(root, 'test/clients', file));
  return once(name, flags, (path) =>
    compile(compilers!.c, [
      ...['-std=gnu11', '-D_GNU_SOURCE', '-O1', '-g', ...warnings, ...flags, '-pthread'],
      ...['-o', path, join(root, source), ...shared],
    ]),
  );
}

/** A program of test/clients. */
export const client = (name: string, flags: readonly string[] = []): string =>
  cProgram(`test/clients/${name}.c`, name, flags);

/** A program of test/preload/programs. */
export const program = (name: string, flags: readonly string[] = []): string =>
  cProgram(`test/preload/programs/${name}.c`, name, flags);

/** The library as it is published, or with sanitizers. */
export function library(flags?: readonly string[]): string {
  if (flags !== undefined) {
    return once('libkvm-tdx-preload', flags, (path) => buildPreload(compilers!.cc, path, flags));
  }
  return once('libkvm-tdx-preload-release', [], (path) => buildPreload(compilers!.cc, path));
}

export { preloadLibrary };

/** The sanitizers' own libraries, which come before ours where LD_PRELOAD names both. */
export function sanitizerLibraries(): string[] {
  return ['libasan.so', 'libubsan.so'].map((name) =>
    spawnSync(compilers!.c, [`-print-file-name=${name}`], { encoding: 'utf8', env }).stdout.trim(),
  );
}
