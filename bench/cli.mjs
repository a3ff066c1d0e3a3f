// What a command costs over Node itself.
import { fileURLToPath } from 'node:url';
import { best, processMs, report } from './common.mjs';

const tdxctl = fileURLToPath(new URL('../bin/tdxctl.js', import.meta.url));
let theirs = Number.POSITIVE_INFINITY;
const ours = await best(12, () => {
  theirs = Math.min(theirs, processMs(['-e', '0']));
  return processMs([tdxctl, 'capabilities', '--backend', 'mock']);
});
report('tdxctl capabilities', { ours, theirs, unit: 'ms', ratio: ours / theirs, aim: 'at most 2 times bare node' });
