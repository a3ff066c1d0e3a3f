// The clients under `tdxctl with-mock`, as somebody's continuous integration would run them.
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { tdxctl, temporaryFolder } from '../cli/tdxctl.js';
import { client, compilers, preloadLibrary, root } from './build.js';

const usable = compilers !== undefined && existsSync(preloadLibrary);
const file = temporaryFolder();
const image = `${root}images/minimal.bin`;

const runs = [
  ['capabilities'],
  ['wrong_order'],
  ['bad_pointers'],
  ['launch'],
  ['launch', image],
  ['selftests'],
  ['signals'],
  ['inherit'],
  ['threads'],
  ['dies', 'run'],
  ['fuzz', '21', '1000'],
] as const;

describe.skipIf(!usable)('tdxctl with-mock', () => {
  it.each(runs.map((run) => [run.join(' ').replace(root, ''), run] as const))('runs %s', (_, [name, ...args]) => {
    const { code, out, err } = tdxctl(['with-mock', '--', client(name), ...args]);
    expect(out).not.toMatch(/^(not ok|Bail out)/m);
    expect(out).toMatch(/^1\.\.\d+$/m);
    expect({ code, err }).toEqual({ code: 0, err: '' });
  });

  it.each(['spr-1.5.06', 'spr-1.5.25', 'gnr-1.5.06', 'spr_nola57-1.5.06'])('runs a launch on %s', (profile) => {
    const { code, out } = tdxctl(['with-mock', '--profile', profile, '--', client('launch'), image]);
    expect(out).toMatch(/^# Hello from a Trust Domain/m);
    expect(code, out).toBe(0);
  });

  it('gives a program no TDX where the profile has none', () => {
    const { code, out } = tdxctl(['with-mock', '--profile', 'spr-1.5.01', '--', client('launch'), image]);
    expect(out).toMatch(/^not ok \d+ - KVM_CREATE_VM succeeds \(it is EINVAL\)/m);
    expect(code).toBe(1);
  });

  it('gives a guest the same console on both engines', () => {
    const consoleOf = (engine: string) =>
      tdxctl(['with-mock', '--engine', engine, '--', client('launch'), image]).out.match(/^# .*$/gm);
    expect(consoleOf('interpreter')?.length).toBeGreaterThan(4);
    expect(consoleOf('interpreter')).toEqual(consoleOf('auto'));
  });

  it('has nothing to say of a program that does not use KVM, but that it did not', () => {
    const { code, out, err } = tdxctl(['with-mock', '--', '/bin/sh', '-c', 'echo done; exit 3']);
    expect({ code, out }).toEqual({ code: 3, out: 'done\n' });
    expect(err).toMatch(/never opened the model's \/dev\/kvm/);
  });

  it('traces why a request was refused', () => {
    const trace = file('trace.txt', '');
    tdxctl(['with-mock', '--trace', trace, '--', client('wrong_order')]);
    expect(readFileSync(trace, 'utf8')).toMatch(/KVM_TDX_INIT_VM.*EINVAL/);
  });
});
