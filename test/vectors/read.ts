import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Text of a compressed vector file of this folder. */
export const readVectors = (name: string): string =>
  gunzipSync(readFileSync(new URL(name, import.meta.url))).toString('utf8');

/** The cases of a .jsonl.gz file. */
// biome-ignore lint/suspicious/noExplicitAny: cases are checked by what runs them
export const readCases = (name: string): any[] =>
  readVectors(name)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
