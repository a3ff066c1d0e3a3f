import { closeSync, openSync, writeSync } from 'node:fs';
import { constants } from 'node:os';
import { Command, Option } from 'commander';
import type { EngineKind } from '../../mock/index.js';
import type { RequestRecord } from '../../wire/index.js';
import { CliError, EXIT, usageError } from '../errors.js';
import type { Bind } from '../main.js';
import { openSystem } from '../options.js';
import type { Output } from '../output.js';

interface WithMockOptions {
  profile?: string;
  engine: EngineKind;
  trace?: string;
  traceFormat: 'text' | 'json';
}

/** What a shell gives for a command that is not there, and for one that cannot be executed. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

export const withMockCommand = (bind: Bind): Command =>
  new Command('with-mock')
    .summary('run any program with the model as its /dev/kvm')
    .description(
      'Run an unmodified program, and whatever it starts, with a modelled TDX host as its /dev/kvm: a VMM, a test suite,\n' +
        'a tool. The program has to be linked dynamically (Linux on x64).',
    )
    .usage('[options] -- COMMAND [ARGUMENT...]')
    .argument('<command>', 'the program, found as a shell finds it; no shell reads it')
    .argument('[arguments...]', 'its arguments')
    .option('--profile <name|file>', 'the host that the model is of')
    .addOption(
      new Option('--engine <engine>', 'what executes guests: a plain VM of /dev/kvm, or software')
        .choices(['auto', 'kvm', 'interpreter'])
        .default('auto'),
    )
    .option('--trace <file>', 'write every request with its arguments and its result; - is standard error')
    .addOption(
      new Option('--trace-format <format>', 'one line of text a request, or one of JSON')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl with-mock -- qemu-system-x86_64 -accel kvm -object tdx-guest,id=tdx0 ...
  $ tdxctl with-mock --trace - -- ./my-vmm
  $ tdxctl with-mock --trace run.jsonl --trace-format json -- make check

A refused request is followed in the trace by the rule that refused it. tdxctl trace diff compares two traces.
Exit code: that of the command, 128 and the signal's number if a signal ended it, 127 if it is not found.`,
    )
    .action(bind(withMock));

async function withMock(output: Output, command: string, args: string[], options: WithMockOptions): Promise<number> {
  const { profile, engine } = options;
  using system = await openSystem({ backend: 'mock', ...(profile !== undefined && { profile }) }, { engine });
  const [{ mockHostOf }, { spawnWithMock }] = await Promise.all([
    import('../../mock/index.js'),
    import('../../wire/index.js'),
  ]);
  const trace = await openTrace(options);
  try {
    const forwarding = new Forwarding();
    const result = await spawnWithMock(mockHostOf(system)!, command, args, {
      ...(trace && { onRequest: trace.write }),
      onStart: (child) => forwarding.start((signal) => child.kill(signal)),
    }).finally(() => forwarding.end());
    if (!result.connected)
      output.note(
        `tdxctl: ${command} never opened the model's /dev/kvm; statically linked and set-user-ID programs cannot`,
      );
    return result.exitCode ?? 128 + (constants.signals[result.signal!] ?? 0);
  } catch (error) {
    throw startError(command, error as NodeJS.ErrnoException);
  } finally {
    trace?.close();
  }
}

/** Signals that end or instruct a program go on to it. A terminal sends SIGINT and SIGQUIT to both by itself. */
class Forwarding {
  #handlers: [NodeJS.Signals, () => void][] = [];

  start(kill: (signal: NodeJS.Signals) => void): void {
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGINT', 'SIGQUIT'] as const) {
      const fromTerminal = (signal === 'SIGINT' || signal === 'SIGQUIT') && process.stdin.isTTY;
      const handler = () => {
        if (!fromTerminal) kill(signal);
      };
      process.on(signal, handler);
      this.#handlers.push([signal, handler]);
    }
  }

  end(): void {
    for (const [signal, handler] of this.#handlers) process.removeListener(signal, handler);
  }
}

/** Where records go, each whole when the request is answered: a program that hangs leaves what it did before. */
async function openTrace({ trace, traceFormat }: WithMockOptions) {
  if (trace === undefined) return undefined;
  const { traceText } = await import('../../wire/index.js');
  let file: number;
  try {
    file = trace === '-' ? 2 : openSync(trace, 'w');
  } catch (error) {
    throw usageError(`--trace ${trace}: ${(error as Error).message}`);
  }
  const show = traceFormat === 'json' ? (record: RequestRecord) => JSON.stringify(record) : traceText;
  return {
    write: (record: RequestRecord) => {
      writeSync(file, `${show(record)}\n`);
    },
    close: () => {
      if (trace !== '-') closeSync(file);
    },
  };
}

function startError(command: string, error: NodeJS.ErrnoException): Error {
  if (error.code === 'ENOENT') return new CliError(`${command}: command not found`, NOT_FOUND);
  if (error.code === 'EACCES') return new CliError(`${command}: permission denied`, NOT_EXECUTABLE);
  if (error.code === 'ERR_KVM_NO_PRELOAD') return new CliError(error.message, EXIT.no);
  return error;
}
