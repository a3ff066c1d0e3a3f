import { createRequire } from 'node:module';
import type * as Iced from 'iced-x86';

let loaded: typeof Iced | undefined;

/**
 * The decoder library. WebAssembly of almost a megabyte, compiled at the first instruction: whoever runs no guest does
 * not pay for it.
 * @throws Error that says why it cannot be loaded.
 */
export function iced(): typeof Iced {
  if (loaded !== undefined) return loaded;
  try {
    loaded = createRequire(import.meta.url)('iced-x86') as typeof Iced;
    return loaded;
  } catch (error) {
    throw new Error(
      `the interpreter needs the decoder library iced-x86 (WebAssembly), which cannot be loaded: ${(error as Error).message}`,
      { cause: error },
    );
  }
}
