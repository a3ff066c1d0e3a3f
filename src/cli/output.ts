import pc from 'picocolors';

/** Where a command prints to, and what it may use there. */
export interface Output {
  readonly colors: ReturnType<typeof pc.createColors>;
  /** A line of the answer, to standard output. */
  line(text?: string): void;
  /** The answer as JSON: u64 values become "0x..." strings. */
  json(value: unknown): void;
  /** Bytes as they are, to standard output; resolves when there is room for more. */
  bytes(data: Uint8Array): Promise<void>;
  /** Text as it is, to standard error. */
  aside(text: string): void;
  /** A line about the run, to standard error; on a terminal never behind a line that {@link bytes} has begun. */
  note(text: string): void;
  /** Replaces the progress line; nothing where standard error is no terminal. */
  progress(text: string): void;
  /** Removes the progress line. */
  progressDone(): void;
}

type Stream = NodeJS.WriteStream;
const NEWLINE = 0x0a;

/** Colours on a terminal only, unless NO_COLOR is set (no-color.org) or the terminal is dumb. */
const wantsColor = (stream: Stream, env: NodeJS.ProcessEnv) =>
  !!stream.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb';

export const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** `1 exit`, `2 exits`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

/** JSON with u64 as hexadecimal strings and bytes as hexadecimal. */
export const toJson = (value: unknown): string =>
  JSON.stringify(
    value,
    (_key, v: unknown) =>
      typeof v === 'bigint' ? hex(v) : v instanceof Uint8Array ? Buffer.from(v).toString('hex') : v,
    2,
  );

export function createOutput(stdout: Stream, stderr: Stream, env: NodeJS.ProcessEnv): Output {
  // The reader of a pipe may leave before the end ("| head"): that is no error.
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
  const live = !!stderr.isTTY && env['TERM'] !== 'dumb';
  let shown = false;
  const clear = () => {
    if (shown) stderr.write('\r\x1b[K');
    shown = false;
  };
  const sameTerminal = !!stdout.isTTY && !!stderr.isTTY;
  let midLine = false;
  return {
    colors: pc.createColors(wantsColor(stdout, env)),
    line: (text = '') => {
      clear();
      stdout.write(`${text}\n`);
    },
    json: (value) => {
      clear();
      stdout.write(`${toJson(value)}\n`);
    },
    bytes: async (data) => {
      clear();
      if (data.length > 0) midLine = data.at(-1) !== NEWLINE;
      if (stdout.write(data)) return;
      await new Promise<void>((resolve) => {
        // A reader who has left makes no room any more.
        const events = ['drain', 'close', 'error'] as const;
        const done = () => {
          for (const event of events) stdout.off(event, done);
          resolve();
        };
        for (const event of events) stdout.on(event, done);
        if (!stdout.writable) done();
      });
    },
    aside: (text) => {
      clear();
      stderr.write(text);
    },
    note: (text) => {
      clear();
      stderr.write(`${sameTerminal && midLine ? '\n' : ''}${text}\n`);
      midLine = false;
    },
    progress: (text) => {
      if (!live) return;
      stderr.write(`\r\x1b[K${text.slice(0, (stderr.columns || 80) - 1)}`);
      shown = true;
    },
    progressDone: clear,
  };
}
