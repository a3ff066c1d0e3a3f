import { Command } from 'commander';
import { CliError, EXIT } from '../errors.js';
import type { Bind } from '../main.js';
import { type CommonOptions, openReaders, withCommonOptions } from '../options.js';
import type { Output } from '../output.js';

interface CaptureCommandOptions extends CommonOptions {
  name: string;
}

export const captureCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('capture'))
    .summary('write the profile of this host, for the model')
    .description(
      'Write the profile of this host as JSON: what its kernel shows of it. The model then answers as this host would,\n' +
        'anywhere: --profile FILE. As root, registers that the TDX module reads are captured too.',
    )
    .option('--name <name>', 'name of the profile', 'captured')
    .addHelpText(
      'after',
      `
Examples:
  $ sudo tdxctl capture --name lab-7 > lab-7.json
  $ tdxctl validate td.json --profile lab-7.json

It looks at this machine unless a model is asked for by --backend mock or --profile.
Exit code 1: KVM offers no TDs here, so there is nothing to capture.`,
    )
    .action(bind(capture));

async function capture(output: Output, { name, ...options }: CaptureCommandOptions): Promise<number> {
  const { captureProfile } = await import('../../host/capture.js');
  const readers = await openReaders(options);
  try {
    const system = readers.kvm();
    if (!system.ok)
      throw new CliError(`nothing to capture: ${system.reason}`, EXIT.no, 'tdxctl host says what is missing.');
    output.json(captureProfile(system.value, readers, { name }));
    return EXIT.done;
  } finally {
    readers.close();
  }
}
