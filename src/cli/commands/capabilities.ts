import { Command } from 'commander';
import type { Bind } from '../main.js';
export const capabilitiesCommand = (_bind: Bind): Command => new Command('capabilities');
