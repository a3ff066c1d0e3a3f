import { dirname, resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { TdImage } from '../../image/index.js';
import type { KvmSystem } from '../../kvm/index.js';
import type { LaunchStep, Milestones, RunEvent, TdRunOptions, TraceFormat, TrustDomain } from '../../launch/index.js';
import type { GuestTrace } from '../../mock/index.js';
import type { Finding, TdConfig } from '../../td/index.js';
import { CliError, EXIT, showError, usageError } from '../errors.js';
import { readUserJson } from '../files.js';
import { printFindings } from '../findings.js';
import { firmwareJson, firmwareSummary, printFirmware, watchFirmware } from '../firmware.js';
import { loadUserImage } from '../image.js';
import type { Bind } from '../main.js';
import { type CommonOptions, openSystem, withCommonOptions } from '../options.js';
import { hex, type Output } from '../output.js';
import {
  outcomeJson,
  printOutcome,
  q35,
  runOnTerminal,
  runQuietly,
  shownEngine,
  timeoutMs,
  wentWell,
} from '../run-td.js';
import { askedSystem, printSystem } from '../system.js';
import { openTrace, type TraceFile } from '../trace-file.js';
import { openTyped, type Typed } from '../typed.js';

interface LaunchCommandOptions extends CommonOptions {
  image?: string;
  run: boolean;
  engine: 'auto' | 'kvm' | 'interpreter';
  platform: 'auto' | 'q35' | 'none';
  timeout?: string;
  interactive?: boolean;
  trace?: string;
  traceFormat: TraceFormat;
}

export const launchCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('launch'))
    .summary('build a TD, measure and finalise it, and run it')
    .description(
      'Build a TD of a configuration and an image, up to KVM_TDX_FINALIZE_VM, print its MRTD, and run it: its console goes to standard output, how it ended to standard error.',
    )
    .argument('[config]', 'the configuration, a JSON file; - for standard input; left out: the defaults')
    .option('--image <file>', "TDVF firmware or a page list; takes the place of the configuration's image")
    .option('--no-run', 'build it only')
    .option(
      '--interactive',
      'standard input is what the guest reads from its console; on a terminal, Ctrl-] ends the run',
    )
    .option('--timeout <seconds>', 'end the run after this time')
    .option('--trace <file>', 'write every exit, and on the model every TDCALL, #VE and SEAMCALL; - is standard error')
    .addOption(
      new Option('--trace-format <format>', 'a line of text, or a JSON object a line')
        .choices(['text', 'json'])
        .default('text'),
    )
    .addOption(
      new Option('--engine <engine>', 'what executes guests of the model: a plain VM of /dev/kvm, or software')
        .choices(['auto', 'kvm', 'interpreter'])
        .default('auto'),
    )
    .addOption(
      new Option('--platform <devices>', 'devices around the console and the exit port; auto: q35 for a firmware image')
        .choices(['auto', 'q35', 'none'])
        .default('auto'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl launch                                       the bundled minimal TD
  $ tdxctl launch td.json --image /usr/share/ovmf/OVMF.fd --timeout 60
  $ tdxctl launch td.json --image shell.fd --interactive
  $ tdxctl launch --trace trace.txt                     what the guest asked, and what it was told
  $ tdxctl launch --no-run --backend mock --json | jq -r .mrtd

Exit code 0: the guest ended with 0 through the exit port (with --no-run: the TD was built).
Exit code 1: it ended otherwise, or printed another MRTD, or the configuration, the image or the launch was refused.`,
    )
    .action(bind(launch));

async function launch(output: Output, path: string | undefined, options: LaunchCommandOptions): Promise<number> {
  if (options.interactive && path === '-') {
    throw usageError(
      '--interactive and the configuration - both want standard input: give the configuration as a file',
    );
  }
  // TrustDomain.create checks the form too, and reports it together with everything else.
  const config = (path === undefined ? {} : readUserJson(path, 'configuration')) as TdConfig;
  const timeout = timeoutMs(options.timeout);
  const imageFile = imagePath(path, config, options);
  const image = await loadUserImage(imageFile);
  const trace = options.trace === undefined ? undefined : await openTrace(output, options.trace, options.traceFormat);
  const interrupt = new AbortController();
  const onInterrupt = () => interrupt.abort(new CliError('interrupted', EXIT.no));
  const typed = options.interactive ? openTyped(process.stdin, onInterrupt) : undefined;
  process.once('SIGINT', onInterrupt);
  try {
    const { signal } = interrupt;
    const devices =
      options.platform === 'q35' || (options.platform === 'auto' && imageFile !== undefined && image.kind === 'tdvf');
    const { isUefiFirmware } = await import('../../launch/platform/index.js');
    const firmware = devices && isUefiFirmware(image);
    return await launchImage(output, config, image, { options, timeout, trace, signal, devices, firmware, typed });
  } finally {
    typed?.close();
    process.off('SIGINT', onInterrupt);
    trace?.close();
  }
}

interface Launch {
  options: LaunchCommandOptions;
  timeout: number | undefined;
  trace: TraceFile | undefined;
  signal: AbortSignal;
  /** What the guest's console receives. */
  typed: Typed | undefined;
  /** Whether the guest gets the devices of a q35 machine. */
  devices: boolean;
  /** Whether it is firmware, whose milestones are followed. */
  firmware: boolean;
}

async function launchImage(output: Output, config: TdConfig, image: TdImage, how: Launch): Promise<number> {
  const { options, trace, signal, firmware } = how;
  const watch: Watch = {};
  const onGuest = (event: GuestTrace): void => {
    trace?.onGuest(event);
    watch.milestones?.guest(event);
  };
  using system = await openSystem(options, {
    engine: options.engine,
    ...(trace && { onSeamcall: trace.onSeamcall }),
    ...((trace || firmware) && { onGuest }),
  });
  const asked = await askedSystem(system);
  if (!options.json) printSystem(output, system);
  const { TrustDomain } = await import('../../launch/index.js');
  const steps: LaunchStep[] = [];
  const onStep = (step: LaunchStep) => {
    if (!isDone(step)) return output.progress(progressText(step));
    steps.push(step);
    if (!options.json) printStep(output, step);
  };
  try {
    using td = await TrustDomain.create(system, config, { image, onStep, signal });
    if (!options.json) printTd(output, td);
    const built = { ...asked, ...answer(td), image: { name: image.name, kind: image.kind }, steps: steps.map(rounded) };
    if (options.run) return await run(output, system, td, how, built, watch);
    if (options.json) output.json({ ...built, state: td.state });
    return EXIT.done;
  } catch (error) {
    output.progressDone();
    // TrustDomain.create documents RangeError for an image that does not fit the memory: the user's, not a bug.
    const refused = error instanceof RangeError ? new CliError(error.message, EXIT.no) : error;
    const shown = showError(refused);
    if (shown.exitCode !== EXIT.no) throw refused;
    if (options.json) output.json({ ...asked, state: 'failed', error: shown.json, steps: steps.map(rounded) });
    if (!options.json && refused instanceof Error && 'findings' in refused) {
      printFindings(output, refused.findings as readonly Finding[]);
      output.note('tdxctl: not launched: no TD can be made of this configuration');
    } else output.note(`tdxctl: ${shown.text}`);
    return EXIT.no;
  }
}

/** Filled when the TD runs: what hears of its guest is needed before. */
interface Watch {
  milestones?: Milestones;
}

/** Runs the TD and tells of it. @param built what `--json` says of its launch. */
async function run(
  output: Output,
  system: KvmSystem,
  td: TrustDomain,
  { options, timeout, trace, signal, devices, firmware, typed }: Launch,
  built: Record<string, unknown>,
  watch: Watch,
): Promise<number> {
  const engine = await shownEngine(system);
  const platform = devices && { devices: await q35(td, output.aside) };
  const milestones = firmware ? await watchFirmware(options.json ? undefined : output) : undefined;
  if (milestones) watch.milestones = milestones;
  const onEvent = (event: RunEvent): void => {
    trace?.onEvent(event);
    milestones?.exit(event.exit);
  };
  const onText = milestones && ((text: string) => milestones.text(text));
  const runOptions: TdRunOptions = {
    signal,
    ...(timeout !== undefined && { timeout }),
    ...(typed && { input: typed.stream }),
    ...((trace || milestones) && { onEvent }),
    ...platform,
  };
  if (options.json) {
    const { outcome, text } = await runQuietly(td, runOptions, onText);
    const more = milestones && { firmware: firmwareJson(await firmwareSummary(milestones, outcome)) };
    output.json({ ...built, state: td.state, run: { ...outcomeJson(outcome, text, engine), ...more } });
    return wentWell(outcome) ? EXIT.done : EXIT.no;
  }
  if (engine) output.note(`engine ${engine.name}: ${engine.description}`);
  output.line();
  const outcome = await runOnTerminal(output, td, runOptions, onText);
  printOutcome(output, outcome, td);
  if (milestones) printFirmware(output, await firmwareSummary(milestones, outcome));
  return wentWell(outcome) ? EXIT.done : EXIT.no;
}

/** `--image` is relative to where the user stands, the configuration's image to the configuration. */
function imagePath(
  configPath: string | undefined,
  config: TdConfig,
  options: LaunchCommandOptions,
): string | undefined {
  const image: unknown = (config as { image?: unknown } | null)?.image;
  if (options.image !== undefined || typeof image !== 'string' || image === '') return options.image;
  return configPath === undefined || configPath === '-' ? image : resolve(dirname(configPath), image);
}

const isDone = ({ progress }: LaunchStep) => progress === undefined || progress.done >= progress.total;

const progressText = ({ name, progress }: LaunchStep) =>
  `${name}: ${progress!.done} of ${progress!.total} ${progress!.unit}`;

const rounded = (step: LaunchStep): LaunchStep => ({ ...step, durationMs: Math.round(step.durationMs * 1000) / 1000 });

function printStep(output: Output, { name, request, durationMs, detail, progress }: LaunchStep): void {
  const more = detail ?? (progress && `${progress.total} ${progress.unit}`);
  const time = output.colors.dim(`${durationMs.toFixed(1).padStart(8)} ms`);
  output.line(`${time}  ${request.padEnd(27)}  ${name}${more ? `: ${more}` : ''}`);
}

const answer = ({ mrtd, maxVcpus, findings, differences }: TrustDomain) => ({
  mrtd,
  maxVcpus,
  findings,
  differences: differences.map((d) => ({ ...d, ...hexFields(d) })),
});

const hexFields = ({ leaf, bits, asked, got }: TrustDomain['differences'][number]) => ({
  leaf: hex(leaf),
  bits: hex(bits),
  asked: hex(asked),
  got: hex(got),
});

function printTd(output: Output, td: TrustDomain): void {
  output.line();
  printFindings(output, td.findings);
  for (const { leaf, subleaf, register, bits, asked, got, reason } of td.differences) {
    const where = `CPUID ${hex(leaf)}.${subleaf} ${register.toUpperCase()}`;
    output.line(
      `${output.colors.yellow('differs')}  ${where}: asked ${hex(asked)}, got ${hex(got)} (bits ${hex(bits)}): ${reason}`,
    );
  }
  output.line(`vCPUs  at most ${td.maxVcpus.limit}: ${td.maxVcpus.reason}`);
  output.line(`state  ${td.state}`);
  output.line(`MRTD   ${output.colors.bold(td.mrtd)}`);
}
