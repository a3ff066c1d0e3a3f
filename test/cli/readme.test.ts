import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { tdxctl } from './tdxctl.js';

const root = new URL('../../', import.meta.url);
const readme = readFileSync(new URL('README.md', root), 'utf8');
const env = { ...process.env, KVM_TDX_BACKEND: 'mock' };

const node = (...args: string[]) => spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' });

describe('the README', () => {
  it('has an example that works as it stands', () => {
    const code = /```js\n(.*?)```/s.exec(readme)?.[1] ?? '';
    const { status, stdout, stderr } = node(
      '--input-type=module',
      '--eval',
      code.replace("'kvm-tdx'", "'./dist/index.js'"),
    );
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(
      /^mock model of a TDX host.*\nfinalized [0-9a-f]{96} [^\n]*\nHello from a Trust Domain: .*\nexit-port 0\n$/s,
    );
  });

  it('names every command', () => {
    const commands = [...tdxctl(['--help']).out.matchAll(/^ {2}([a-z-]+) \[options\]/gm)].map(([, name]) => name);
    expect(commands).toHaveLength(7);
    for (const command of commands) expect(readme).toContain(`| \`tdxctl ${command}`);
  });

  it('links to files that are there', () => {
    const links = [...readme.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path!);
    // docs/api.md is generated.
    expect(links.filter((path) => path !== 'docs/api.md' && !existsSync(new URL(path, root)))).toEqual([]);
  });

  it('shows output as it is', () => {
    const config = /echo '(.*)' \| tdxctl validate -/.exec(readme)?.[1] ?? '';
    const { out } = tdxctl(['validate', '-', '--backend', 'mock'], { input: config });
    const said = out.split('\n').slice(1).join('\n');
    expect(readme).toContain(said);
  });
});

describe('npm start', () => {
  it('says what answers, builds a TD that measures as computed offline, and ends with what it says', () => {
    const { status, stdout, stderr } = node('scripts/start.mjs');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^mock: model of a TDX host/);
    const [, mrtd] = /^MRTD ([0-9a-f]{96})\nwhich is what was computed offline\.$/m.exec(stdout) ?? [];
    expect(stdout).toMatch(new RegExp(`\nHello from a Trust Domain: .*\nMRTD ${mrtd}\nRTMR2 [0-9a-f]{96}\n$`, 's'));
  });
});
