import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { EXIT, showError } from './errors.js';
import { createOutput, type Output } from './output.js';

/** A command's work: parsed arguments and options in, exit code out. */
export type Handler<Args extends unknown[]> = (output: Output, ...args: Args) => Promise<number>;

/** Ties a handler to commander's `action`. */
export type Bind = <Args extends unknown[]>(handler: Handler<Args>) => (...args: Args) => Promise<void>;

// A start loads the command that it runs and no other: half of what starting costs is files.
const COMMANDS: Readonly<Record<string, () => Promise<(bind: Bind) => Command>>> = {
  host: async () => (await import('./commands/host.js')).hostCommand,
  capabilities: async () => (await import('./commands/capabilities.js')).capabilitiesCommand,
  capture: async () => (await import('./commands/capture.js')).captureCommand,
  validate: async () => (await import('./commands/validate.js')).validateCommand,
  measure: async () => (await import('./commands/measure.js')).measureCommand,
  launch: async () => (await import('./commands/launch.js')).launchCommand,
  'with-mock': async () => (await import('./commands/with-mock.js')).withMockCommand,
  trace: async () => (await import('./commands/trace.js')).traceCommand,
  cpuid: async () => (await import('./commands/cpuid.js')).cpuidCommand,
};

/** The command that `argv` begins with, or all of them where it begins with none. */
function loadCommands([first = '']: readonly string[]) {
  const only = Object.hasOwn(COMMANDS, first) ? COMMANDS[first] : undefined;
  return Promise.all((only ? [only] : Object.values(COMMANDS)).map((load) => load()));
}

/** A command and those below it, each with what a user types for it. */
const withCommands = (path: string, command: Command): [string, Command][] => [
  [path, command],
  ...command.commands.flatMap((below) => withCommands(`${path} ${below.name()}`, below)),
];

const version = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version;

/**
 * Runs `tdxctl`. Commands import the library when they run, so that starting costs little.
 * @param argv arguments behind the program's name
 * @returns the exit code, see {@link EXIT}
 */
export async function main(argv: string[]): Promise<number> {
  const output = createOutput(process.stdout, process.stderr, process.env);
  let exitCode: number = EXIT.done;
  const bind: Bind =
    (handler) =>
    async (...args) => {
      exitCode = await handler(output, ...args);
    };

  const program = new Command('tdxctl')
    .description('Query, explain, build, measure and run Intel TDX Trust Domains on KVM, or on a model of it.')
    .version(argv.includes('--version') || argv.includes('-V') ? version() : '', '-V, --version')
    .addHelpText(
      'after',
      '\nWhere KVM offers no TDs, everything runs on a model and says so.\nExit codes: 0 done, 1 the answer is no, 2 wrong use.',
    );
  for (const command of await loadCommands(argv)) program.addCommand(command(bind));
  for (const [path, command] of withCommands('tdxctl', program)) {
    command.exitOverride();
    command.configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'tdxctl: ')) });
    command.showHelpAfterError(`See ${path} --help.`);
  }

  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
    const shown = showError(error);
    output.note(`tdxctl: ${shown.text}`);
    // A script that asked for JSON gets its answer as JSON, also when it is no.
    if (shown.exitCode === EXIT.no && argv.includes('--json')) output.json({ error: shown.json });
    return shown.exitCode;
  }
}
