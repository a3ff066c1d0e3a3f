import { Command } from 'commander';
import type { Bind } from '../main.js';
export const captureCommand = (_bind: Bind): Command => new Command('capture');
