// KVM_CHECK_EXTENSION, the cheapest ioctl: what the way from JavaScript to the kernel costs.
import { KVM_CAP, openKvm } from '../dist/index.js';
import { best, nsPer, report, twin } from './common.mjs';

const ROUNDS = 8;
const N = 300_000;

let system;
try {
  system = openKvm({ backend: 'native' });
} catch (error) {
  console.log(`ioctl: skipped (${error.message})`);
}
if (system) {
  const c = twin();
  let theirs = Number.POSITIVE_INFINITY;
  const ours = await best(ROUNDS, () => {
    theirs = Math.min(theirs, c?.('ioctl', N) ?? Number.POSITIVE_INFINITY);
    return nsPer(N, (n) => {
      for (let i = 0; i < n; i++) system.checkExtension(KVM_CAP.USER_MEMORY);
    });
  });
  report('ioctl CHECK_EXTENSION', {
    ours,
    theirs,
    unit: 'ns',
    ratio: ours / theirs,
    aim: 'at most 1.5 times the C twin',
  });
  system.close();
}
