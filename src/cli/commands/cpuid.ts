import { Command } from 'commander';
import type { Bind } from '../main.js';
import { baselineCommand } from './cpuid-baseline.js';
import { diffCommand } from './cpuid-diff.js';
import { evaluateCommand } from './cpuid-evaluate.js';
import { explainCommand } from './cpuid-explain.js';
import { cpuidLearnCommand } from './cpuid-learn.js';
import { mapCommand } from './cpuid-map.js';
import { solveCommand } from './cpuid-solve.js';

/** Questions about CPUID, a command each. */
export const cpuidCommand = (bind: Bind): Command =>
  new Command('cpuid')
    .summary('what a TD finds in CPUID, and why')
    .description(
      'Questions about the CPUID of TDs: what a guest finds and why, what to set to change it, what differs between hosts.',
    )
    .addCommand(evaluateCommand(bind))
    .addCommand(explainCommand(bind))
    .addCommand(diffCommand(bind))
    .addCommand(solveCommand(bind))
    .addCommand(baselineCommand(bind))
    .addCommand(mapCommand(bind))
    .addCommand(cpuidLearnCommand(bind))
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl cpuid evaluate --leaf 7.0            what a TD made with the defaults finds there, and why
  $ tdxctl cpuid explain AVX512F                what decides the bit, and how to get it 1 or 0
  $ tdxctl cpuid diff 1.5.05 1.5.06             what a newer module changes
  $ tdxctl cpuid solve --want AVX512 --avoid TSX
  $ tdxctl cpuid baseline spr-1.5.06 gnr-1.5.06 one configuration for both
  $ tdxctl cpuid map --html map.html            every bit, by what decides it
  $ tdxctl cpuid learn --out rules.json         find the rules of this host out, by trying`,
    );
