import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Addon } from './addon.js';
import { setUp } from './errors.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const require = createRequire(import.meta.url);

/** In order of preference: what the caller points at, this checkout's builds, what the package ships. */
const candidates = (): string[] =>
  process.env['KVM_TDX_NATIVE']
    ? [process.env['KVM_TDX_NATIVE']]
    : ['build/Release', 'build-cmake/Release', 'prebuilds/linux-x64'].map((folder) =>
        join(root, folder, 'kvm_tdx.node'),
      );

export type Loaded = { addon: Addon; path: string } | { reason: string };

let loaded: Loaded | undefined;

/** Loads the addon once. Never throws: why there is none is the answer then. */
export function loadAddon(): Loaded {
  loaded ??= tryToLoad();
  return loaded;
}

function tryToLoad(): Loaded {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return { reason: `KVM for TDX is Linux on x64 only, this is ${process.platform} on ${process.arch}` };
  }
  const tried: string[] = [];
  for (const path of candidates()) {
    if (!existsSync(path)) {
      tried.push(`${path}: no such file`);
      continue;
    }
    try {
      const addon = require(path) as Addon;
      setUp(addon);
      return { addon, path };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') {
        return {
          reason: `Node refuses to load addons (${(error as Error).message}): start it with --allow-addons, without --no-addons`,
        };
      }
      tried.push(`${path}: ${(error as Error).message}`);
    }
  }
  const advice = process.env['KVM_TDX_NATIVE']
    ? 'unset KVM_TDX_NATIVE or point it at a built kvm_tdx.node'
    : 'build it with `node scripts/build-native.mjs` (needs a C++ compiler, make and Python)';
  return { reason: `the native addon is not there: ${advice}. Tried ${tried.join('; ')}` };
}
