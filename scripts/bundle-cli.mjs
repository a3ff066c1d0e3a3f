// Bundles the command line: starting it from some two hundred separate modules costs more than everything it then does.
// Chunks lie two folders deep, as the modules do, so that paths to profiles/, rules/ and images/ stay right.
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = join(root, 'dist', 'tdxctl');

/** The licences of what is in the bundle and is not ours. */
function licences() {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return Object.keys(dependencies).map((name) => {
    const folder = join(root, 'node_modules', name);
    const file = ['LICENSE', 'LICENSE.md', 'LICENSE.txt'].find((candidate) => readable(join(folder, candidate)));
    if (!file) throw new Error(`${name} has no licence file to pass on`);
    return `== ${name} ==\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
  });
}

function readable(file) {
  try {
    readFileSync(file);
    return true;
  } catch {
    return false;
  }
}

const bundle = await rolldown({ input: { main: join(root, 'dist', 'cli', 'main.js') }, platform: 'node' });
await bundle.write({ dir: target, format: 'esm', chunkFileNames: '[name].js', cleanDir: true });
await bundle.close();
writeFileSync(join(target, 'THIRD-PARTY.txt'), licences().join('\n'));
