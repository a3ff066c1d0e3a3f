import { basename } from 'node:path';
import type { Platform } from '../mock/platform.js';
import { type ExpectedBoot, runBoot } from './boot.js';
import type { FileResult } from './run-file.js';

const SHOWN_DIFFERENCES = 5;

/** Starts a module wherever a platform of the file `path` says what comes of it; undefined where none does. */
export function runBoots(path: string, platforms: Readonly<Record<string, Platform>>): FileResult | undefined {
  const result: FileResult = {
    name: basename(path),
    format: 'boot',
    passed: 0,
    failed: 0,
    skipped: new Map(),
    differences: [],
  };
  for (const [name, platform] of Object.entries(platforms)) {
    for (const [version, expected] of Object.entries(platform.boot ?? {})) {
      const difference = differenceOf(platform, version, expected);
      if (difference === undefined) {
        result.passed += 1;
        continue;
      }
      result.failed += 1;
      if (result.differences.length < SHOWN_DIFFERENCES) {
        result.differences.push(`platform ${name}, module ${version}: ${difference}`);
      }
    }
  }
  return result.passed + result.failed > 0 ? result : undefined;
}

function differenceOf(platform: Platform, version: string, expected: ExpectedBoot): string | undefined {
  try {
    return runBoot(platform, version, expected);
  } catch (error) {
    return `the runner threw ${(error as Error).stack ?? String(error)}`;
  }
}
