import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const root = new URL('../../', import.meta.url);

/** Runs an example against the built package, on the model. */
function example(name: string): string {
  const env = { ...process.env, KVM_TDX_BACKEND: 'mock' };
  const { status, stdout, stderr } = spawnSync(process.execPath, [`examples/${name}`], {
    cwd: root,
    env,
    encoding: 'utf8',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  return stdout;
}

describe('the examples', () => {
  it('are these, and each is run here', () => {
    expect(readdirSync(new URL('examples', root)).sort()).toEqual(['launch.mjs', 'query.mjs', 'retry-with-faults.mjs']);
  });

  it('query prints what may be configured, and what is wrong with a configuration', () => {
    const out = example('query.mjs');
    expect(out).toMatch(/^vCPUs of a TD at most {7}8$/m);
    expect(out).toMatch(/^ {2}0x7\.1 {2}eax 0x1c30$/m);
    expect(out).toMatch(/^warning: tscKhz: .*2100000/m);
  });

  it('launch shows what the TD prints, how it ended, and that it has the MRTD that was measured', () => {
    const out = example('launch.mjs');
    const [, mrtd] = /^MRTD ([0-9a-f]{96}), finalized$/m.exec(out) ?? [];
    expect(out).toMatch(/^Hello from a Trust Domain: GPAW 48, vCPUs 1 /m);
    expect(out).toContain(`\nMRTD ${mrtd}\n`);
    expect(out).toMatch(/\nThe guest ended with 0 through port 0xf4\nThe guest agrees about its MRTD\.\n$/);
  });

  it('retry-with-faults retries what a policy means to retry, and nothing else', () => {
    const lines = example('retry-with-faults.mjs').split('\n');
    expect(lines[0]).toMatch(/^no KeyID twice: launched at attempt 3, MRTD /);
    expect(lines[1]).toMatch(/^no KeyID ever: gave up, Initialise the TD: .*ENOSPC/);
    expect(lines.join('\n')).toMatch(/^no memory: not tried again, Create vCPU 0: ENOMEM/m);
  });
});
