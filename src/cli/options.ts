import { type Command, Option } from 'commander';
import type { KvmSystem } from '../kvm/system.js';
import { usageError } from './errors.js';

/** Options that every command has. */
export interface CommonOptions {
  backend: 'auto' | 'native' | 'mock';
  profile?: string;
  json?: boolean;
}

export const withCommonOptions = (command: Command): Command =>
  command
    .addOption(
      new Option('--backend <kind>', 'the real kernel, the model, or whichever fits')
        .choices(['auto', 'native', 'mock'])
        .default('auto'),
    )
    .option('--profile <name|file>', 'the host that the model is of; implies --backend mock')
    .option('--json', 'print JSON (docs/cli.md)');

/** Whether the user asked for the model. @throws CliError (2) when the options contradict each other. */
export function asksForModel(options: CommonOptions): boolean {
  if (options.profile === undefined) return options.backend === 'mock';
  if (options.backend === 'native')
    throw usageError(
      '--profile names a host for the model, and --backend native asks for the real one: use one of them',
    );
  return true;
}

/** Opens what the options ask for; the caller closes it. */
export async function openSystem(options: CommonOptions): Promise<KvmSystem> {
  const backend = asksForModel(options) ? 'mock' : options.backend;
  const { openKvm } = await import('../open.js');
  return openKvm({ backend, ...(options.profile !== undefined && { profile: options.profile }) });
}
