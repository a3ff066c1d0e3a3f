// MRTD of a measured image against what openssl hashes per second on this machine.
import { spawnSync } from 'node:child_process';
import { measureTd } from '../dist/index.js';
import { best, report } from './common.mjs';

const MIB = 1024 * 1024;

/** Bytes per second of `openssl speed sha384`, largest blocks. */
function opensslBytesPerSecond() {
  const { status, stdout } = spawnSync(
    'openssl',
    ['speed', '-mr', '-seconds', '1', '-bytes', '16384', '-evp', 'sha384'],
    { encoding: 'utf8' },
  );
  const field = /^\+F:\d+:[^:]+:([\d.]+)/m.exec(stdout ?? '')?.[1];
  return status === 0 && field ? Number(field) : undefined;
}

const size = 16 * MIB;
const data = new Uint8Array(size).map((_, at) => (at * 7 + (at >> 8)) & 255);
const image = {
  kind: 'pages',
  name: 'bench',
  regions: [{ name: 'all', gpa: 0x10_0000n, size, data, measure: true, add: true }],
};
let theirs = 0;
let hashed = 0;
const seconds = await best(5, () => {
  theirs = Math.max(theirs, opensslBytesPerSecond() ?? 0);
  const start = performance.now();
  hashed = measureTd(image).hashedBytes;
  return (performance.now() - start) / 1000;
});
const ours = hashed / seconds;
report('MRTD, hashed bytes', {
  ours: ours / MIB,
  ...(theirs > 0 && { theirs: theirs / MIB, ratio: ours / theirs }),
  unit: 'MiB/s',
  aim: 'at least 0.9 of openssl',
});
