import { closeSync, openSync, writeSync } from 'node:fs';
import type { RunEvent } from '../launch/index.js';
import type { TraceFormat, TraceRecord } from '../launch/trace/index.js';
import type { GuestTrace, SeamcallTrace } from '../mock/index.js';
import { usageError } from './errors.js';
import type { Output } from './output.js';

/** Characters that wait until they are written. */
const CHUNK = 1 << 16;

/** Where `--trace` writes to, and what it hears. */
export interface TraceFile {
  onSeamcall(trace: SeamcallTrace): void;
  onGuest(trace: GuestTrace): void;
  onEvent(event: RunEvent): void;
  close(): void;
}

/**
 * Opens a trace that begins now.
 * @param path `-` is standard error
 * @throws CliError (2) for a file that cannot be written
 */
export async function openTrace(output: Output, path: string, format: TraceFormat): Promise<TraceFile> {
  const { formatTrace, recordOfGuest, recordOfRun, recordOfSeamcall } = await import('../launch/trace/index.js');
  const file = path === '-' ? undefined : openForWriting(path);
  const began = performance.now();
  let waiting = '';
  const flush = () => {
    if (file === undefined) output.aside(waiting);
    else for (let bytes = Buffer.from(waiting); bytes.length > 0; ) bytes = bytes.subarray(writeSync(file, bytes));
    waiting = '';
  };
  const write = (record: TraceRecord) => {
    waiting += formatTrace(record, format);
    if (waiting.length > CHUNK || file === undefined) flush();
  };
  const now = () => performance.now() - began;
  return {
    onSeamcall: (trace) => write(recordOfSeamcall(trace, now())),
    onGuest: (trace) => write(recordOfGuest(trace, now())),
    onEvent: (event) => write(recordOfRun(event, now())),
    close: () => {
      flush();
      if (file !== undefined) closeSync(file);
    },
  };
}

function openForWriting(path: string): number {
  try {
    return openSync(path, 'w');
  } catch (error) {
    throw usageError(`cannot write the trace '${path}': ${(error as Error).message}`);
  }
}
