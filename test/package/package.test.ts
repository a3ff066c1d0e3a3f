import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

/** What `npm pack` would put into the package. */
function packed(): string[] {
  const { stdout } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    encoding: 'utf8',
  });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  return files.map(({ path }) => path);
}

describe('the published package', () => {
  const files = packed();

  it('has what it needs to run', () => {
    const needed = [
      'bin/tdxctl.js',
      'dist/index.js',
      'dist/index.d.ts',
      'dist/tdxctl/main.js',
      'dist/tdxctl/THIRD-PARTY.txt',
    ];
    const data = [
      'images/minimal.bin',
      'profiles/spr-1.5.06.json',
      'profiles/platforms/spr.json',
      'rules/1.5.06.json',
      'pages/cpuid-map/page.html',
    ];
    for (const file of [...needed, ...data, 'schema/td.schema.json', 'LICENSE', 'README.md'])
      expect(files).toContain(file);
  });

  it('has no binding.gyp at its root: npm would compile it on install, whatever gypfile says', () => {
    expect(files).not.toContain('binding.gyp');
    expect(manifest.scripts).not.toHaveProperty('install');
  });

  it('has nothing that only this project runs', () => {
    expect(files.filter((file) => /^(test|bench|native|src|scripts)\/|dist\/vectors|tsbuildinfo/.test(file))).toEqual(
      [],
    );
  });

  it('exports only files that exist', () => {
    const targets = Object.values<string | Record<string, string>>(manifest.exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : Object.values(entry),
    );
    for (const target of targets) expect(existsSync(new URL(`../../${target}`, import.meta.url)), target).toBe(true);
  });
});

describe('docs/api.md', () => {
  it('is what the doc comments give (npm run docs)', () => {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/write-api.mjs', '--check'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(status).toBe(0);
  });
});

describe('the sources', () => {
  it('are locked: every dependency has one exact version, and the lock file names no host', () => {
    const versions = Object.values<string>({ ...manifest.dependencies, ...manifest.devDependencies });
    for (const version of versions) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
    expect(readFileSync(new URL('../../package-lock.json', import.meta.url), 'utf8')).not.toContain('"resolved"');
  });
});
