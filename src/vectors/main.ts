import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import type { Platform } from '../mock/platform.js';
import { loadPlatform } from '../mock/platforms.js';
import { type BootComparison, comparePlatformBoots } from './platform-boot.js';
import { runFile } from './run-file.js';

const usage = `Usage: npm run vectors -- [--platforms FILE] FILE...

Runs vectors files (.jsonl or .jsonl.gz, formats in test/vectors/README.md) through the model and the measurement.
  --platforms FILE   more platform profiles, in the format of platform.json; where one says with \`boot\` what
                     Intel's module does when it is loaded there, the model is held against that as well
`;

/** The bundled platforms, and before them those that are given. */
function platformSource(given: Readonly<Record<string, Platform>>): (name: string) => Platform {
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

/** The profiles of a platforms file. @throws Error that says what is wrong with it. */
function readPlatforms(file: string | undefined): Record<string, Platform> {
  if (file === undefined) return {};
  const { profiles } = JSON.parse(readFileSync(file, 'utf8')) as { profiles?: Record<string, Platform> };
  if (typeof profiles !== 'object') throw new Error(`${basename(file)}: expected { "profiles": { NAME: ... } }`);
  return profiles;
}

function report(name: string, { passed, failed, differences, skipped = new Map<string, number>() }: Report): void {
  const sum = [...skipped.values()].reduce((all, count) => all + count, 0);
  process.stdout.write(`${name}: ${passed} passed, ${failed} failed${sum > 0 ? `, ${sum} skipped` : ''}\n`);
  for (const [reason, count] of skipped) process.stdout.write(`  ${count} skipped: ${reason}\n`);
  for (const difference of differences) process.stdout.write(`  ${difference}\n`);
}

type Report = BootComparison & { skipped?: ReadonlyMap<string, number> };

/** `npm run vectors`. @returns the exit code: 0 all passed, 1 a case failed, 2 wrong use. */
export async function main(argv: readonly string[]): Promise<number> {
  let files: string[];
  let given: Record<string, Platform>;
  let boots: BootComparison | undefined;
  let platformsFile = '';
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: { platforms: { type: 'string' } },
      allowPositionals: true,
    });
    files = positionals;
    platformsFile = values.platforms ?? '';
    given = readPlatforms(values.platforms);
    boots = comparePlatformBoots(given);
    if (files.length === 0 && !boots) throw new Error('no vectors file given');
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${usage}`);
    return 2;
  }
  let code = 0;
  if (boots) {
    report(basename(platformsFile), boots);
    if (boots.failed > 0) code = 1;
  }
  const platform = platformSource(given);
  for (const file of files) {
    try {
      const result = await runFile(file, platform);
      report(result.name, result);
      if (result.failed > 0) code = 1;
    } catch (error) {
      process.stderr.write(`${basename(file)}: ${(error as Error).message}\n`);
      code = 1;
    }
  }
  return code;
}
