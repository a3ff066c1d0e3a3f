// Builds what a checkout needs: the addon where a compiler is at hand, the TypeScript, and the bundled command line.
// Without a compiler the install still succeeds; everything then runs on the model.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);

const steps = [
  [join(root, 'scripts', 'build-native.mjs'), '--optional'],
  [require.resolve('typescript/bin/tsc'), '-p', root],
  [join(root, 'scripts', 'bundle-cli.mjs')],
];
for (const step of steps) {
  const { status } = spawnSync(process.execPath, step, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
