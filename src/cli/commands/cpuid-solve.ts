import { Command } from 'commander';
import type { Solution } from '../../cpuid/questions/index.js';
import { type CpuidOptions, openCpuidHost, profileCpuidHosts } from '../cpuid-host.js';
import { printSubject, subjectOf, withCpuidOptions } from '../cpuid-output.js';
import { EXIT, usageError } from '../errors.js';
import { readUserJson } from '../files.js';
import type { Bind } from '../main.js';
import { type Output, toJson } from '../output.js';

interface SolveOptions extends CpuidOptions {
  want?: string[];
  avoid?: string[];
  migratable?: boolean;
  same?: boolean;
  host?: string[];
}

export const solveCommand = (bind: Bind): Command =>
  withCpuidOptions(new Command('solve'))
    .summary('the configuration that grants wishes, or why they exclude each other')
    .description(
      'Find the TD configuration that grants all wishes with the least else, or the smallest set of wishes that cannot hold together.',
    )
    .argument('[config]', 'what is settled of the configuration, a JSON file; - for standard input; left out: nothing')
    .option('--want <feature...>', 'features (or places such as 7.0.ebx[16]) that guests are to find')
    .option('--avoid <feature...>', 'features that guests are not to find; TSX is HLE and RTM')
    .option('--migratable', 'the TD can be migrated')
    .option('--no-migratable', 'the TD cannot be migrated')
    .option('--same', 'guests find the same on every --host')
    .option('--host <profile...>', 'hosts on which the wishes are to hold: profiles, or folders of them')
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl cpuid solve --want AVX512 AMX --avoid TSX
  $ tdxctl cpuid solve --want AVX512F --same --host spr-1.5.06 spr_lass-1.5.06
  $ tdxctl cpuid solve --want PERFMON --migratable --module 1.5.06

Exit code 1: the wishes cannot hold together; the smallest set that cannot is printed.`,
    )
    .action(bind(solve));

async function solve(output: Output, path: string | undefined, options: SolveOptions): Promise<number> {
  const input = path === undefined ? {} : readUserJson(path, 'configuration');
  const { parseTdConfig } = await import('../../td/index.js');
  const { solveCpuid, CpuidPlaceError } = await import('../../cpuid/questions/index.js');
  const { want = [], avoid = [], migratable, same } = options;
  const wishes = {
    want,
    avoid,
    ...(migratable !== undefined && { migratable }),
    ...(same && { sameEverywhere: true }),
  };
  const config = parseTdConfig(input);
  const hosts = options.host ? await profileCpuidHosts(options.host, options.module) : [await openCpuidHost(options)];
  let solution: Solution;
  try {
    solution = solveCpuid(hosts, wishes, config);
  } catch (error) {
    if (error instanceof CpuidPlaceError || error instanceof RangeError || error instanceof TypeError) {
      throw usageError(error.message);
    }
    throw error;
  }
  if (options.json) {
    const { evaluations: _, ...answer } = { evaluations: undefined, ...solution };
    output.json({ hosts: hosts.map(subjectOf), ...answer });
  } else {
    for (const host of hosts.slice(0, 8)) printSubject(output, host);
    if (hosts.length > 8) output.line(`and ${hosts.length - 8} more hosts`);
    print(output, solution);
  }
  return solution.solved ? EXIT.done : EXIT.no;
}

function print(output: Output, solution: Solution): void {
  const { bold, green, red, yellow } = output.colors;
  if (!solution.solved) {
    output.line(`${bold(red('cannot hold together'))}: ${solution.conflict.join(', ')}`);
    output.line(`  ${solution.why}`);
    return;
  }
  output.line(bold(green('solved')));
  for (const change of solution.changes) output.line(`  ${change}`);
  if (solution.unsure.length > 0) output.line(yellow(`  not known here: ${solution.unsure.join(', ')}`));
  output.line();
  output.line(toJson(solution.config));
}
