import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import type { KvmSystem } from '../../kvm/system.js';
import type { Contradiction, LearnResult, LearntDocument } from '../../learn/index.js';
import { CliError, EXIT, usageError } from '../errors.js';
import { readUserJson } from '../files.js';
import type { Bind } from '../main.js';
import { type CommonOptions, openSystem, withCommonOptions } from '../options.js';
import { hex, type Output } from '../output.js';
import { askedSystem, printSystem } from '../system.js';

interface LearnCommandOptions extends CommonOptions {
  out?: string;
  resume?: string;
  maxTds?: number;
}

function count(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('Expected a whole number from 1.');
  return value;
}

export const cpuidLearnCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('learn'))
    .summary('learn the CPUID rules of this host, without any table')
    .description(
      'Learn what decides each CPUID bit of the TDs of this host: build throw-away TDs, one at a time, and infer it from what\n' +
        'they show. Then say where that contradicts the bundled rules of the same TDX module.',
    )
    .option('--out <file>', 'where to write the learnt rules (schema/learnt-rules.schema.json)')
    .option('--resume <file>', 'where to go on from, if the file is there, and where to note what is done')
    .option('--max-tds <n>', 'try at most so many TDs now', count)
    .addHelpText(
      'after',
      `
Examples:
  $ sudo tdxctl cpuid learn --out rules.json
  $ sudo tdxctl cpuid learn --resume run.json --max-tds 50     fifty now; the same again goes on
  $ tdxctl cpuid learn --profile lab-7.json --json

It takes one KeyID at a time. Ctrl-C stops after the TD at hand; with --resume nothing is lost.
Exit code 1: not everything was learnt, or it contradicts the bundled rules.`,
    )
    .action(bind(learn));

async function learn(output: Output, options: LearnCommandOptions): Promise<number> {
  const { resume, maxTds } = options;
  const state = resume !== undefined && existsSync(resume) ? readUserJson(resume, 'state') : undefined;
  using system = await openSystem(options);
  const { LearnStateError, learnCpuid } = await import('../../learn/index.js');
  const module = await moduleVersion(system);
  if (!options.json) printSystem(output, system);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  let result: LearnResult;
  try {
    result = await learnCpuid(system, {
      signal: interrupt.signal,
      ...(state !== undefined && { state }),
      ...(maxTds !== undefined && { maxTds }),
      ...(module !== undefined && { module }),
      onProgress: ({ phase, tds, experiments }) =>
        output.progress(`${experiments} TDs${experiments > tds ? `, ${tds} of them now` : ''}: ${phase}`),
    });
  } catch (error) {
    if (error instanceof LearnStateError) throw new CliError(`${resume}: ${error.message}`, EXIT.no);
    throw error;
  } finally {
    output.progressDone();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
  if (resume !== undefined) save(resume, result.state);
  return result.document
    ? finish(output, options, system, result, result.document)
    : stopped(output, options, system, result);
}

/** Of the modelled host, or what this machine tells. */
async function moduleVersion(system: KvmSystem): Promise<string | undefined> {
  if (system.backend === 'mock') {
    const { mockHostOf } = await import('../../mock/index.js');
    return mockHostOf(system)?.profile.module.version;
  }
  const [{ readModuleVersion }, { thisMachine }] = await Promise.all([
    import('../../host/module-version.js'),
    import('../../host/this-machine.js'),
  ]);
  const readers = thisMachine();
  try {
    return readModuleVersion(readers);
  } finally {
    readers.close();
  }
}

/** Writes a file as a whole or not at all. */
function save(path: string, value: unknown): void {
  const partial = `${path}.part`;
  try {
    writeFileSync(partial, `${JSON.stringify(value, null, 2)}\n`);
    renameSync(partial, path);
  } catch (error) {
    throw usageError(`cannot write '${path}': ${(error as Error).message}`);
  }
}

const WHY = {
  'max-tds': 'the number of TDs that was allowed is used up',
  'max-ms': 'the time is up',
  aborted: 'interrupted',
  error: 'the host fails',
} as const;

function stopped(
  output: Output,
  { json, resume }: LearnCommandOptions,
  system: KvmSystem,
  result: LearnResult,
): number {
  const { tds, state, error } = result;
  const why = WHY[result.stopped!];
  const reason = error instanceof Error && result.stopped === 'error' ? `${why}: ${error.message}` : why;
  if (json) {
    output.json({
      ...askedSystem(system),
      complete: false,
      stopped: result.stopped,
      reason,
      tds,
      experiments: state.experiments.length,
    });
  } else {
    output.line(
      `${output.colors.yellow('not finished')}: ${reason}, after ${state.experiments.length} TDs (${tds} now)`,
    );
    output.line(resume ? `The same command goes on from ${resume}.` : 'Nothing was kept: --resume FILE would.');
  }
  return EXIT.no;
}

async function finish(
  output: Output,
  options: LearnCommandOptions,
  system: KvmSystem,
  { tds, retries }: LearnResult,
  document: LearntDocument,
): Promise<number> {
  const [{ compareLearnt, countKinds }, { bundledVersions, loadRules }] = await Promise.all([
    import('../../learn/index.js'),
    import('../../cpuid/index.js'),
  ]);
  if (options.out !== undefined) save(options.out, document);
  const comparable = document.module !== undefined && bundledVersions().includes(document.module);
  const contradictions = comparable ? compareLearnt(document, loadRules(document.module!)) : undefined;
  const kinds = countKinds(document);
  if (options.json) {
    const compared = comparable ? { comparedWith: document.module, contradictions } : {};
    output.json({ ...askedSystem(system), complete: true, tds, retries, kinds, ...compared, document });
  } else {
    print(output, document, kinds, tds, contradictions);
    if (options.out !== undefined) output.line(`\nThe rules are in ${options.out}.`);
  }
  return contradictions && contradictions.length > 0 ? EXIT.no : EXIT.done;
}

const MEANINGS: Readonly<Record<string, string>> = {
  fixed0: 'always 0',
  fixed1: 'always 1',
  configured: 'as configured, some of them where XFAM, attributes or other bits allow',
  xfam: 'follow XFAM',
  attribute: 'follow attributes',
  'not-native': 'configurable, and stay 0',
  'no-effect': 'configurable, without effect',
  'host-value': "the host's; nothing else may be asked for",
  calculated: 'calculated from other settings',
  untried: 'configurable, of no use in a topology and never set',
  unknown: 'change in a way that was not found',
};

function print(
  output: Output,
  document: LearntDocument,
  kinds: Partial<Record<string, number>>,
  tds: number,
  contradictions: readonly Contradiction[] | undefined,
): void {
  const { bold, green, red, dim } = output.colors;
  const { accepted, refused } = document.experiments;
  output.line(`${bold('learnt')} from ${accepted + refused} TDs (${tds} now), ${refused} of them refused`);
  for (const [kind, meaning] of Object.entries(MEANINGS))
    if (kinds[kind]) output.line(`  ${String(kinds[kind]).padStart(5)} ${kind.padEnd(12)} ${dim(meaning)}`);
  for (const { all, refused: why } of document.exclusions) output.line(`  excluded: ${all.join(' with ')} ${dim(why)}`);
  if (document.denied.length > 0) output.line(`  denied by KVM: ${document.denied.join(', ')}`);
  if (!contradictions) {
    const version = document.module ? `module ${document.module}` : "this host's module, whose version is not told";
    output.line(`\nThere are no bundled rules for ${version} to compare with.`);
    return;
  }
  const verdict = contradictions.length === 0 ? green('none') : red(String(contradictions.length));
  output.line(`\n${bold('Contradictions')} with the bundled rules of ${document.module}: ${verdict}`);
  for (const { place, register, bits, learnt, document: says } of contradictions) {
    const where = register ? `${place}.${register} ${hex(bits ?? 0)}` : place;
    output.line(`  ${where}: learnt ${learnt}; the document says ${says}`);
  }
}
