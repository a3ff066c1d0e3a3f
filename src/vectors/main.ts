import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import type { Platform } from '../mock/platform.js';
import { loadPlatform } from '../mock/platforms.js';
import { runFile } from './run-file.js';

const usage = `Usage: npm run vectors -- [--platforms FILE] FILE...

Runs vectors files (.jsonl or .jsonl.gz, formats in test/vectors/README.md) through the model and the measurement.
  --platforms FILE   more platform profiles, in the format of platform.json
`;

/** The bundled platforms, and before them those of `file`. */
function platformSource(file: string | undefined): (name: string) => Platform {
  const given: Record<string, Platform> = file ? JSON.parse(readFileSync(file, 'utf8')).profiles : {};
  const known = new Map<string, Platform>();
  return (name) => {
    let platform = known.get(name);
    if (!platform) {
      platform = given[name] ?? loadPlatform(name);
      known.set(name, platform);
    }
    return platform;
  };
}

/** `npm run vectors`. @returns the exit code: 0 all passed, 1 a case failed, 2 wrong use. */
export async function main(argv: readonly string[]): Promise<number> {
  let files: string[];
  let platform: (name: string) => Platform;
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { platforms: { type: 'string' } },
      allowPositionals: true,
    });
    if (positionals.length === 0) throw new Error('no vectors file given');
    files = positionals;
    platform = platformSource(values.platforms);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  let code = 0;
  for (const file of files) {
    try {
      const result = await runFile(file, platform);
      const skipped = [...result.skipped.values()].reduce((sum, count) => sum + count, 0);
      const tail = skipped > 0 ? `, ${skipped} skipped` : '';
      process.stdout.write(`${result.name}: ${result.passed} passed, ${result.failed} failed${tail}\n`);
      for (const [reason, count] of result.skipped) process.stdout.write(`  ${count} skipped: ${reason}\n`);
      for (const difference of result.differences) process.stdout.write(`  ${difference}\n`);
      if (result.failed > 0) code = 1;
    } catch (error) {
      process.stderr.write(`${basename(file)}: ${(error as Error).message}\n`);
      code = 1;
    }
  }
  return code;
}
