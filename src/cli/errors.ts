/** What a script gets to see of a command's end. */
export const EXIT = {
  /** Done. */
  done: 0,
  /** The answer is no: the host is not ready, the configuration invalid, the launch refused. */
  no: 1,
  /** Wrong use: an unknown option, a file that cannot be read. */
  usage: 2,
  /** A bug of ours (EX_SOFTWARE of sysexits.h). */
  bug: 70,
} as const;

/** An end of a command that the user can do something about: its text is all that is printed. */
export class CliError extends Error {
  override readonly name = 'CliError';
  constructor(
    message: string,
    readonly exitCode: number,
    /** What to do, one sentence. */
    readonly hint?: string,
  ) {
    super(message);
  }
}

export const usageError = (message: string, hint?: string): CliError => new CliError(message, EXIT.usage, hint);

/** An error as commands print it, and as `--json` has it. */
export interface ShownError {
  exitCode: number;
  text: string;
  json: Record<string, unknown>;
}

// Errors of the library that are an answer, not a bug; told by name and code because importing their classes would load the library.
const ANSWERS = /^(Kvm|KvmState|TdConfig|TdLaunch|Image|Profile|Capture|Rules)Error$/;
const isAnswer = (error: Error) =>
  ANSWERS.test(error.name) || String((error as NodeJS.ErrnoException).code).startsWith('ERR_KVM_');

/** What a failed command says. Stacks are for bugs only, and only with TDXCTL_DEBUG set. */
export function showError(error: unknown): ShownError {
  if (error instanceof CliError) {
    const text = error.hint ? `${error.message}\n${error.hint}` : error.message;
    return { exitCode: error.exitCode, text, json: { name: error.name, message: error.message } };
  }
  if (error instanceof Error && isAnswer(error)) {
    const text = /\(KVM_CREATE_VM\)/.test(error.message)
      ? `${error.message}\ntdxctl host says what is missing.`
      : error.message;
    return { exitCode: EXIT.no, text, json: errorFields(error) };
  }
  const message = error instanceof Error ? error.message : String(error);
  const stack = process.env['TDXCTL_DEBUG'] && error instanceof Error ? error.stack : undefined;
  return {
    exitCode: EXIT.bug,
    text: `internal error: ${message}\n${stack ?? 'This is a bug. TDXCTL_DEBUG=1 shows where it happened.'}`,
    json: { name: 'InternalError', message },
  };
}

const SHOWN_FIELDS = [
  'code',
  'step',
  'request',
  'rule',
  'hint',
  'explanation',
  'pagesDone',
  'offset',
  'found',
  'expected',
  'fix',
  'findings',
];

function errorFields(error: Error): Record<string, unknown> {
  const fields: Record<string, unknown> = { name: error.name, message: error.message };
  const from = error as unknown as Record<string, unknown>;
  for (const key of SHOWN_FIELDS) if (from[key] !== undefined) fields[key] = from[key];
  const { tdxStatus } = error as { tdxStatus?: { name: string; value: bigint; operand?: string } };
  if (tdxStatus) {
    const { name, value, operand } = tdxStatus;
    fields['tdxStatus'] = { name, value, ...(operand && { operand }) };
  }
  if (error.cause instanceof Error) fields['cause'] = errorFields(error.cause);
  return fields;
}
