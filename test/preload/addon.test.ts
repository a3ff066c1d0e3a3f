// Our own addon, whose TDX requests have met no TDX kernel here, on the model behind the preload library: addon to bytes to model.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nativeStatus } from '../../src/native/index.js';
import { type Run, tdxctl } from '../cli/tdxctl.js';
import { preloadLibrary, root } from './build.js';

const usable = existsSync(preloadLibrary) && nativeStatus().available;
/** Tests of the contract that meet the addon; what meets the model alone is tested without the preload library. */
const ON_THE_ADDON = /on the kernel|any argument/;
const withMock = ['with-mock', '--'];

interface Summary {
  numTotalTests: number;
  numPassedTests: number;
  numFailedTests: number;
  testResults: { assertionResults: { fullName: string; status: string }[] }[];
}

describe.skipIf(!usable)('the native backend under tdxctl with-mock', () => {
  it('sees the host that the model is of', () => {
    const direct = tdxctl(['capabilities', '--backend', 'mock', '--json']).json();
    const carried = tdxctl([
      ...withMock,
      process.execPath,
      'bin/tdxctl.js',
      'capabilities',
      '--backend',
      'native',
      '--json',
    ]);
    expect(carried.err).toBe('');
    const host = ({
      backend: _backend,
      profile: _profile,
      description: _description,
      ...rest
    }: Record<string, unknown>) => rest;
    expect(Object.keys(host(direct)).length).toBeGreaterThan(3);
    expect(host(carried.json())).toEqual(host(direct));
  });

  it('launches the TD that the model launches: the same measurement, console and end', () => {
    const guest = (out: string) => out.slice(out.indexOf('Hello from a Trust Domain')).replace(/^ended .*\n/m, '');
    // How long it took is not to be compared.
    const ended = ({ out, err }: Run) => `${out}${err}`.match(/^ended .*$/m)?.[0].replace(/\d+ ms/, '');
    const mrtd = (out: string) => out.match(/^MRTD +[0-9a-f]{96}$/gm);
    const direct = tdxctl(['launch', '--backend', 'mock']);
    const carried = tdxctl([...withMock, process.execPath, 'bin/tdxctl.js', 'launch', '--backend', 'native']);
    expect(carried.code, carried.err).toBe(0);
    expect(guest(carried.out)).toMatch(/^Hello from .*\n.*IntelTDX/);
    expect(guest(carried.out)).toBe(guest(direct.out));
    expect(ended(carried)).toMatch(/ended with 0 through port 0xf4/);
    expect(ended(carried)).toBe(ended(direct));
    expect(mrtd(carried.out)?.length).toBeGreaterThan(0);
    expect(mrtd(carried.out)).toEqual(mrtd(direct.out));
  });

  it('runs the bundled images to the same ends, with the same consoles and measurements', () => {
    const program = join(root, 'test/preload/programs/images.mjs');
    const run = (command: string, args: string[]): unknown => {
      const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 50_000 });
      expect(stderr).toBe('');
      return JSON.parse(stdout);
    };
    const direct = run(process.execPath, [program, 'mock']);
    const tdxctlProgram = join(root, 'bin/tdxctl.js');
    const carried = run(process.execPath, [tdxctlProgram, ...withMock, process.execPath, program, 'native']);
    expect(direct).toMatchObject({
      minimal: { how: 'exit-port', exitCode: 0 },
      fatal: { how: 'fatal-error' },
      'triple-fault': { how: 'triple-fault' },
    });
    expect(carried).toEqual(direct);
  });

  it('passes the whole contract of the backends, its TDX part too', { timeout: 120_000 }, () => {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    // One file at a time: there is one host, and some tests take all of its KeyIDs.
    const options = ['--reporter=json', '--no-file-parallelism', '-t', ON_THE_ADDON.source];
    const command = [process.execPath, vitest, 'run', 'test/contract', ...options];
    const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'bin/tdxctl.js'), ...withMock, ...command], {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 1 << 26,
    });
    const summary = JSON.parse(stdout.slice(stdout.indexOf('{'))) as Summary;
    const others = summary.testResults
      .flatMap(({ assertionResults }) => assertionResults)
      .filter(({ fullName, status }) => ON_THE_ADDON.test(fullName) && status !== 'passed');
    expect(others, stderr).toEqual([]);
    expect(summary.numFailedTests).toBe(0);
    expect(summary.numPassedTests).toBeGreaterThan(150);
  });
});
