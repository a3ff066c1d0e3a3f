// Builds native/preload, the library that `tdxctl with-mock` puts before a program's libc. Linux on x64, any C++20 compiler.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../native/preload/', import.meta.url));

/** Where the package looks for it. */
export const preloadLibrary = fileURLToPath(
  new URL(`../prebuilds/${process.platform}-${process.arch}/libkvm-tdx-preload.so`, import.meta.url),
);

/** The files it is made of, for whoever asks whether it is up to date. */
export const preloadSources = [
  ...readdirSync(folder)
    .filter((name) => /\.(cc|hpp)$/.test(name))
    .map((name) => join(folder, name)),
  fileURLToPath(import.meta.url),
];

// Loaded into programs of all kinds: it needs libc alone, not the C++ library, and shows only what it takes over.
const flags = [
  ...['-std=gnu++20', '-shared', '-fPIC', '-fvisibility=hidden', '-ftls-model=initial-exec'],
  ...['-fno-exceptions', '-fno-rtti', '-fno-threadsafe-statics', '-fno-asynchronous-unwind-tables'],
  ...['-U_FORTIFY_SOURCE', '-Wall', '-Wextra', '-Wl,-z,relro,-z,now,-z,nodelete'],
];
const release = ['-O2', '-fstack-protector-strong', '-s', '-nodefaultlibs', '-Wl,-z,defs'];

/**
 * Compiles it, all files as one.
 * @param {string} compiler
 * @param {string} library where it goes
 * @param {readonly string[] | undefined} extra flags in place of those of a release: sanitizers
 * @returns {string | undefined} what the compiler said, if it failed
 */
export function buildPreload(compiler, library = preloadLibrary, extra = undefined) {
  mkdirSync(dirname(library), { recursive: true });
  const unfinished = `${library}.${process.pid}`;
  const source = `${unfinished}.cc`;
  const files = readdirSync(folder).filter((name) => name.endsWith('.cc'));
  writeFileSync(
    source,
    files
      .sort()
      .map((name) => `#include "${join(folder, name)}"\n`)
      .join(''),
  );
  const libraries = extra === undefined ? ['-lc', '-lgcc'] : [];
  const [command, ...first] = compiler.split(' ');
  const built = spawnSync(
    command,
    [...first, ...flags, ...(extra ?? release), '-o', unfinished, source, ...libraries],
    {
      encoding: 'utf8',
      env: { ...process.env, LD_PRELOAD: '' },
    },
  );
  rmSync(source, { force: true });
  if (built.status !== 0) return `${built.error?.message ?? ''}${built.stdout ?? ''}${built.stderr ?? ''}`;
  renameSync(unfinished, library);
  return undefined;
}
