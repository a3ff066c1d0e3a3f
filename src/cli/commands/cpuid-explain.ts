import { Command } from 'commander';
import type { Advice, Explanation } from '../../cpuid/questions/index.js';
import { type CpuidOptions, openCpuidHost } from '../cpuid-host.js';
import {
  movedJson,
  placeJson,
  printMoved,
  printSubject,
  subjectOf,
  valueText,
  withCpuidOptions,
} from '../cpuid-output.js';
import { EXIT, usageError } from '../errors.js';
import { readUserJson } from '../files.js';
import type { Bind } from '../main.js';
import type { Output } from '../output.js';

export const explainCommand = (bind: Bind): Command =>
  withCpuidOptions(new Command('explain'))
    .summary('what decides a CPUID bit, and how to get it 1 or 0')
    .description(
      'Say what decides a bit or field of CPUID, what to set to get it 1 or 0, what excludes it, and what moves with it.',
    )
    .argument('<bit>', 'a feature such as AVX512F, or a place such as 7.0.ebx[4]')
    .argument('[config]', 'the configuration to start from, a JSON file; - for standard input; left out: the defaults')
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl cpuid explain HLE
  $ tdxctl cpuid explain '7.0.ebx[4]' td.json
  $ tdxctl cpuid explain AVX512F --module 1.5.06
  $ tdxctl cpuid explain AMX_TILE --json | jq '.advice[0].config'`,
    )
    .action(bind(explain));

async function explain(output: Output, bit: string, path: string | undefined, options: CpuidOptions): Promise<number> {
  const input = path === undefined ? {} : readUserJson(path, 'configuration');
  const { parseTdConfig } = await import('../../td/index.js');
  const { explainCpuid, parsePlace, CpuidPlaceError } = await import('../../cpuid/questions/index.js');
  const config = parseTdConfig(input);
  try {
    parsePlace(bit);
  } catch (error) {
    if (error instanceof CpuidPlaceError) throw usageError(error.message);
    throw error;
  }
  const host = await openCpuidHost(options);
  const explanation = explainCpuid(host, bit, config);
  if (options.json) output.json({ ...subjectOf(host), ...asJson(explanation) });
  else {
    printSubject(output, host);
    print(output, explanation);
  }
  return EXIT.done;
}

const asJson = ({ place, advice, ...rest }: Explanation) => ({
  ...placeJson(place),
  ...rest,
  advice: advice.map(({ moves, ...more }) => ({ ...more, moves: moves.map(movedJson) })),
});

function print(output: Output, { place, meaning, kind, value, reasons, rules, advice }: Explanation): void {
  const { bold, cyan, dim } = output.colors;
  const where = `CPUID ${placeJson(place).leaf}.${place.subleaf} ${place.register.toUpperCase()}[${placeJson(place).bits}]`;
  output.line(
    `${bold(place.name ?? where)}${place.name === undefined ? '' : ` ${where}`}${meaning ? `: ${meaning}` : ''}`,
  );
  output.line(`  ${cyan(kind)}${value === undefined ? '' : `, here ${valueText(value)}`}`);
  for (const reason of reasons) output.line(`  ${reason}`);
  for (const item of advice) printAdvice(output, item);
  if (rules.length > 0) output.line(bold('\nRules'));
  for (const { id, what } of rules) output.line(`  ${what} ${dim(`[${id}]`)}`);
}

const MOST_MOVES = 12;

function printAdvice(output: Output, { value, answer, changes, moves, why }: Advice): void {
  const { bold, dim } = output.colors;
  output.line(bold(`\nTo get ${value}`));
  if (answer === 'so') output.line('  it is so');
  if (answer === 'no') output.line(`  there is no way here: ${why}`);
  for (const change of changes) output.line(`  ${change}`);
  if (answer === 'depends') output.line(`  then it depends on the host: ${why}`);
  if (moves.length === 0) return;
  output.line(dim(`  with it ${moves.length === 1 ? 'moves' : 'move'}`));
  printMoved(output, moves.slice(0, MOST_MOVES), false);
  if (moves.length > MOST_MOVES) output.line(dim(`  and ${moves.length - MOST_MOVES} more (--json has all)`));
}
