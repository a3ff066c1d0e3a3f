import { type Command, Option } from 'commander';
import type { HostReaders } from '../host/readers.js';
import type { KvmSystem } from '../kvm/system.js';
import type { OpenOptions } from '../open.js';
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

/** What only the model takes. */
export type ModelOptions = Pick<OpenOptions, 'engine' | 'onSeamcall' | 'onGuest'>;

/**
 * Opens what the options ask for; the caller closes it.
 * @throws CliError (2) for a profile or a KVM_TDX_BACKEND that cannot be used.
 */
export async function openSystem(options: CommonOptions, more: ModelOptions = {}): Promise<KvmSystem> {
  const backend = asksForModel(options) ? 'mock' : options.backend;
  const { openKvm } = await import('../open.js');
  try {
    return openKvm({ ...more, backend, ...(options.profile !== undefined && { profile: options.profile }) });
  } catch (error) {
    // A TypeError of openKvm is about its options, which are the user's here.
    if (error instanceof Error && (error.name === 'ProfileError' || error instanceof TypeError))
      throw usageError(error.message);
    throw error;
  }
}

/** Readers of what the options ask for: a model, or else this machine, whatever KVM_TDX_BACKEND says. @throws CliError (2) */
export async function openReaders(options: CommonOptions): Promise<HostReaders> {
  const { modelReaders, thisMachine } = await import('../host/index.js');
  if (!asksForModel(options)) return thisMachine();
  try {
    return modelReaders(options.profile);
  } catch (error) {
    if (error instanceof Error && error.name === 'ProfileError') throw usageError(error.message);
    throw error;
  }
}
