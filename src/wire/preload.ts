import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Where the package, and this checkout once it is built, has the library that takes `/dev/kvm` over. */
const packaged = (): string => join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'libkvm-tdx-preload.so');

/** What `spawnWithMock` needs and this machine does not have. */
export class PreloadError extends Error {
  override readonly name = 'PreloadError';
  readonly code = 'ERR_KVM_NO_PRELOAD';
}

/**
 * The library that takes `/dev/kvm` over in other programs; `KVM_TDX_PRELOAD` in the environment takes its place.
 * @throws PreloadError where it is not there, or cannot be.
 */
export function preloadLibrary(): string {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    const here = `${process.platform} on ${process.arch}`;
    throw new PreloadError(`programs can be run against the model on Linux on x64 only, this is ${here}`);
  }
  const given = process.env['KVM_TDX_PRELOAD'];
  const path = given || packaged();
  if (existsSync(path)) return path;
  const advice = given
    ? 'unset KVM_TDX_PRELOAD or point it at a built libkvm-tdx-preload.so'
    : 'build it with `node scripts/build-native.mjs` (needs a C++ compiler)';
  throw new PreloadError(`the preload library is not there: ${path}: no such file; ${advice}`);
}
