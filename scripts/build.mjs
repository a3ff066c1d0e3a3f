// Builds what a checkout needs: the addon where a compiler is at hand, and the TypeScript.
// Without a compiler the install still succeeds; everything then runs on the model.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const require = createRequire(import.meta.url);
const run = (script, args) => spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' }).status;

if (existsSync(join(root, 'scripts', 'build-native.mjs'))) {
  run(join(root, 'scripts', 'build-native.mjs'), ['--optional']);
}
process.exitCode = run(require.resolve('typescript/bin/tsc'), ['-p', root]) ?? 1;
