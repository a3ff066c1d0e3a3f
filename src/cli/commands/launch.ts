import { dirname, resolve } from 'node:path';
import { Command } from 'commander';
import type { LaunchStep, TrustDomain } from '../../launch/index.js';
import type { Finding, TdConfig } from '../../td/index.js';
import { CliError, EXIT, showError } from '../errors.js';
import { readUserJson } from '../files.js';
import { printFindings } from '../findings.js';
import { loadUserImage } from '../image.js';
import type { Bind } from '../main.js';
import { type CommonOptions, openSystem, withCommonOptions } from '../options.js';
import { hex, type Output } from '../output.js';
import { askedSystem, printSystem } from '../system.js';

interface LaunchCommandOptions extends CommonOptions {
  image?: string;
}

export const launchCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('launch'))
    .summary('build a TD, measure and finalise it')
    .description(
      'Build a TD of a configuration and an image, up to KVM_TDX_FINALIZE_VM, and print its MRTD; then close it.',
    )
    .argument('[config]', 'the configuration, a JSON file; - for standard input; left out: the defaults')
    .option('--image <file>', "TDVF firmware or a page list; takes the place of the configuration's image")
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl launch                                       the bundled minimal TD
  $ tdxctl launch td.json --image /usr/share/ovmf/OVMF.fd
  $ tdxctl launch --backend mock --json | jq -r .mrtd

Exit code 1: the configuration, the image or the launch was refused.`,
    )
    .action(bind(launch));

async function launch(output: Output, path: string | undefined, options: LaunchCommandOptions): Promise<number> {
  // TrustDomain.create checks the form too, and reports it together with everything else.
  const config = (path === undefined ? {} : readUserJson(path, 'configuration')) as TdConfig;
  const image = await loadUserImage(imagePath(path, config, options));
  using system = await openSystem(options);
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
    using td = await TrustDomain.create(system, config, { image, onStep });
    if (options.json)
      output.json({
        ...asked,
        ...answer(td),
        image: { name: image.name, kind: image.kind },
        steps: steps.map(rounded),
      });
    else printTd(output, td);
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

const answer = ({ mrtd, state, maxVcpus, findings, differences }: TrustDomain) => ({
  mrtd,
  state,
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
