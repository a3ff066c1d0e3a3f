import { Command } from 'commander';
import type { Bind } from '../main.js';
import { cpuidLearnCommand } from './cpuid-learn.js';

const COMMANDS = [cpuidLearnCommand];

export const cpuidCommand = (bind: Bind): Command => {
  const parent = new Command('cpuid')
    .summary('say what decides the CPUID that a guest sees')
    .description('What a TD may be configured with, why, and what its guest will see of it.');
  for (const command of COMMANDS) parent.addCommand(command(bind));
  return parent;
};
