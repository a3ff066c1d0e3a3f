// Writes docs/api.md from the doc comments of what src/index.ts exports. --check: writes nothing, ends with 1 if it differs.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const target = join(root, 'docs', 'api.md');
const typedoc = join(dirname(createRequire(import.meta.url).resolve('typedoc/package.json')), 'bin', 'typedoc');

const out = mkdtempSync(join(tmpdir(), 'kvm-tdx-api-'));
try {
  const args = [typedoc, '--out', out, '--treatWarningsAsErrors', '--logLevel', 'Warn'];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
  const text = readFileSync(join(out, 'api.md'), 'utf8').replace(
    '# kvm-tdx',
    '# API\n\nWritten by `npm run docs` from the doc comments in `src/`; edit those. Where to start: `openKvm`, `TrustDomain`, `KvmSystem`.',
  );
  if (!process.argv.includes('--check')) writeFileSync(target, text);
  else if (readFileSync(target, 'utf8') !== text) {
    console.error('docs/api.md is not what the doc comments give; run: npm run docs');
    process.exitCode = 1;
  }
} finally {
  rmSync(out, { recursive: true, force: true });
}
