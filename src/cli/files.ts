import { readFileSync } from 'node:fs';
import { CliError, EXIT, usageError } from './errors.js';
import { parseJsonText } from './json-text.js';

const REASONS: Record<string, string> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
};

/** Reads a file that the user named; `-` is standard input. @throws CliError (2) saying why not. */
export function readUserFile(path: string, what: string): Buffer {
  try {
    return readFileSync(path === '-' ? 0 : path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw usageError(`cannot read the ${what} '${path}': ${REASONS[code ?? ''] ?? message}`);
  }
}

/** Reads a JSON file that the user named. @throws CliError: 2 if it cannot be read, 1 with line and column if it is not JSON. */
export function readUserJson(path: string, what: string): unknown {
  const parsed = parseJsonText(readUserFile(path, what).toString('utf8'));
  if (parsed.ok) return parsed.value;
  const { line, column, message } = parsed.fault;
  const name = path === '-' ? 'standard input' : path;
  throw new CliError(`${name}:${line}:${column}: not JSON: ${message}`, EXIT.no);
}
