import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import type { Platform } from '../mock/platform.js';
import { loadPlatform } from '../mock/platforms.js';
import { runBoots } from './run-boots.js';
import { type FileResult, runFile } from './run-file.js';

const usage = `Usage: npm run vectors -- [--platforms FILE] FILE...

Runs vectors files (.jsonl or .jsonl.gz, formats in test/vectors/README.md) through the model and the measurement.
  --platforms FILE   more platform profiles, in the format of platform.json; where one says what becomes of a module
                     that is started there (boot.<version>), that is checked as well
`;

type Platforms = Readonly<Record<string, Platform>>;

function readPlatforms(file: string): Platforms {
  const { profiles } = JSON.parse(readFileSync(file, 'utf8'));
  if (typeof profiles !== 'object' || profiles === null) throw new Error(`${file}: expected an object 'profiles'`);
  return profiles;
}

/** The bundled platforms, and before them those of `given`. */
function platformSource(given: Platforms): (name: string) => Platform {
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
  let platforms: string | undefined;
  let given: Platforms;
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { platforms: { type: 'string' } },
      allowPositionals: true,
    });
    if (positionals.length === 0 && values.platforms === undefined) throw new Error('no vectors file given');
    files = positionals;
    platforms = values.platforms;
    given = platforms === undefined ? {} : readPlatforms(platforms);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  let code = 0;
  const report = (result: FileResult): void => {
    const skipped = [...result.skipped.values()].reduce((sum, count) => sum + count, 0);
    const tail = skipped > 0 ? `, ${skipped} skipped` : '';
    process.stdout.write(`${result.name}: ${result.passed} passed, ${result.failed} failed${tail}\n`);
    for (const [reason, count] of result.skipped) process.stdout.write(`  ${count} skipped: ${reason}\n`);
    for (const difference of result.differences) process.stdout.write(`  ${difference}\n`);
    if (result.failed > 0) code = 1;
  };
  const boots = platforms === undefined ? undefined : runBoots(platforms, given);
  if (boots) report(boots);
  const platform = platformSource(given);
  for (const file of files) {
    try {
      report(await runFile(file, platform));
    } catch (error) {
      process.stderr.write(`${basename(file)}: ${(error as Error).message}\n`);
      code = 1;
    }
  }
  return code;
}
