import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type Format, formatOf } from './formats.js';
import { parseVectorLine } from './parse-line.js';
import type { VectorEnv } from './types.js';

export interface FileResult {
  name: string;
  format: string;
  passed: number;
  failed: number;
  /** Reason to number of cases. */
  skipped: Map<string, number>;
  /** The first differences. */
  differences: string[];
}

/** The module version that a file's name gives: `tdparams-1.5.06.jsonl.gz`. */
const versionInName = (name: string): string | undefined => /\d+\.\d+\.\d+/.exec(name)?.[0];

/** The cases of a `.jsonl` or `.jsonl.gz` file. @throws Error that names the line which is not JSON. */
export function readCases(path: string): unknown[] {
  const bytes = readFileSync(path);
  const text = (bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes).toString('utf8');
  const cases: unknown[] = [];
  for (const [at, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue;
    try {
      cases.push(parseVectorLine(line));
    } catch (error) {
      throw new Error(`${basename(path)}, line ${at + 1}: not JSON (${(error as Error).message})`);
    }
  }
  return cases;
}

/** Runs every case of a vectors file through the code that users run. */
export async function runFile(
  path: string,
  platform: VectorEnv['platform'],
  options: { differences?: number } = {},
): Promise<FileResult> {
  const name = basename(path);
  const cases = readCases(path);
  if (cases.length === 0) throw new Error(`${name} holds no case`);
  const format: Format = formatOf(cases[0], name);
  const run = await format.load();
  const env: VectorEnv = { platform, moduleVersion: versionInName(name) ?? format.moduleVersion };
  const result: FileResult = { name, format: format.name, passed: 0, failed: 0, skipped: new Map(), differences: [] };
  const fail = (testCase: unknown, difference: string) => {
    result.failed += 1;
    if (result.differences.length < (options.differences ?? 5)) {
      result.differences.push(`case ${(testCase as { id?: unknown }).id ?? '?'}: ${difference}`);
    }
  };
  for (const testCase of cases) {
    try {
      const outcome = run(testCase, env);
      if ('skip' in outcome) result.skipped.set(outcome.skip, (result.skipped.get(outcome.skip) ?? 0) + 1);
      else if (outcome.ok) result.passed += 1;
      else fail(testCase, outcome.difference);
    } catch (error) {
      fail(testCase, `the runner threw ${(error as Error).stack ?? String(error)}`);
    }
  }
  return result;
}
