// The part of `tdxctl launch` that runs the TD: its console, how it ended, and what a script gets of that.
import type { KvmSystem } from '../kvm/index.js';
import type { Devices, TdOutcome, TdRunOptions, TrustDomain } from '../launch/index.js';
import { usageError } from './errors.js';
import { counted, type Output } from './output.js';

/** What executes the guest, for outputs. */
export interface EngineShown {
  name: string;
  description: string;
}

/** @returns undefined where nothing can: the run will say why */
export async function shownEngine(system: KvmSystem): Promise<EngineShown | undefined> {
  if (system.backend === 'native') return { name: 'processor', description: 'the processor, in KVM' };
  const { mockHostOf } = await import('../mock/index.js');
  try {
    return await mockHostOf(system)?.engine.get();
  } catch {
    return undefined;
  }
}

const MS_PER_SECOND = 1000;
const LONGEST_SECONDS = 2_147_483;

/** @returns milliseconds. @throws CliError (2) for what is no time. */
export function timeoutMs(seconds: string | undefined): number | undefined {
  if (seconds === undefined) return undefined;
  const value = /^\d+(\.\d+)?$/.test(seconds) ? Math.round(Number(seconds) * MS_PER_SECOND) : Number.NaN;
  if (value >= 1 && value <= LONGEST_SECONDS * MS_PER_SECOND) return value;
  throw usageError(`--timeout is '${seconds}', expected seconds, 0.001 to ${LONGEST_SECONDS}`);
}

/** Devices of a q35 machine, for firmware; what it writes to QEMU's debug port goes to `onDebugText`. */
export async function q35(td: TrustDomain, onDebugText: (text: string) => void): Promise<Devices> {
  const { q35Platform } = await import('../launch/platform/index.js');
  return q35Platform({ memory: td.resolved.memory, vcpus: td.vcpus.length, onDebugText });
}

/** Hears what the guest prints, as it comes. */
type OnText = (text: string) => void;

/** Runs a TD with its console on standard output as it comes. */
export async function runOnTerminal(
  output: Output,
  td: TrustDomain,
  options: TdRunOptions,
  onText?: OnText,
): Promise<TdOutcome> {
  const running = td.run(options);
  const printed = (async () => {
    for await (const bytes of td.console) {
      await output.bytes(bytes);
      onText?.(latin1(bytes));
    }
  })();
  const [outcome] = await Promise.all([running, printed]);
  return outcome;
}

/** Runs a TD and keeps what it prints. */
export async function runQuietly(
  td: TrustDomain,
  options: TdRunOptions,
  onText?: OnText,
): Promise<{ outcome: TdOutcome; text: string }> {
  const chunks: Uint8Array[] = [];
  const keep = async () => {
    for await (const bytes of td.console) {
      onText?.(latin1(bytes));
      chunks.push(bytes);
    }
  };
  const [outcome] = await Promise.all([td.run(options), keep()]);
  return { outcome, text: Buffer.concat(chunks).toString('utf8') };
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** Whether the guest said that all is well, and printed no other MRTD than the TD's. */
export const wentWell = ({ how, exitCode, mrtd }: TdOutcome): boolean =>
  how === 'exit-port' && exitCode === 0 && mrtd?.matches !== false;

/** How it ended, for people. */
export function printOutcome(output: Output, outcome: TdOutcome, td: TrustDomain): void {
  const { message, advice, mrtd, durationMs, vcpus, how } = outcome;
  const exits = vcpus.reduce((sum, vcpu) => sum + vcpu.exits, 0);
  output.note(`ended  ${message} (${durationMs.toFixed(0)} ms, ${counted(exits, 'exit')})`);
  if (advice) output.note(`       ${advice}.`);
  if (outcome.fatal && outcome.fatal.text === '') output.note('       It gave no text.');
  if (how === 'timeout' || how === 'aborted') {
    for (const { id, lastExit } of vcpus) {
      const last = lastExit ? `${lastExit.text}, ${lastExit.msAgo.toFixed(0)} ms before` : 'none seen';
      output.note(`       Last exit of vCPU ${id}: ${last}.`);
    }
  }
  if (mrtd?.matches) output.note('MRTD   The guest has printed the same.');
  if (mrtd && !mrtd.matches) output.note(`MRTD   The guest has printed another: ${mrtd.reported}, not ${td.mrtd}.`);
}

/** An outcome for scripts. */
export function outcomeJson(
  outcome: TdOutcome,
  text: string,
  engine: EngineShown | undefined,
): Record<string, unknown> {
  const { error, console, ...rest } = outcome;
  const { code } = (error ?? {}) as NodeJS.ErrnoException;
  return {
    ...rest,
    ...(error && { error: { name: error.name, message: error.message, ...(code !== undefined && { code }) } }),
    durationMs: Math.round(outcome.durationMs * 1000) / 1000,
    vcpus: outcome.vcpus.map(({ lastExit, ...vcpu }) => ({
      ...vcpu,
      ...(lastExit && { lastExit: { ...lastExit, msAgo: Math.round(lastExit.msAgo) } }),
    })),
    console: { ...console, text },
    ...(engine && { engine }),
  };
}
