import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { shell, tdxctl, temporaryFolder } from './tdxctl.js';

const file = temporaryFolder();
const COMMANDS = ['host', 'capabilities', 'capture', 'validate', 'measure', 'launch'];
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

describe('tdxctl', () => {
  it('alone shows what there is, and that this is no use of it', () => {
    const { code, out, err } = tdxctl([]);
    expect(code).toBe(2);
    expect(out).toBe('');
    for (const command of COMMANDS) expect(err).toMatch(new RegExp(`^  ${command} `, 'm'));
  });

  it('--version gives that of the package', () => {
    expect(tdxctl(['--version'])).toMatchObject({ code: 0, out: `${version}\n`, err: '' });
  });

  it.each(COMMANDS)('%s --help has examples and the options that all commands have', (command) => {
    const { code, out, err } = tdxctl([command, '--help']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^Examples:\n {2}\$ /m);
    for (const option of ['--backend <kind>', '--profile <name|file>', '--json']) expect(out).toContain(option);
  });

  it.each(COMMANDS)('%s is described in docs/cli.md', (command) => {
    const docs = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
    expect(docs).toMatch(new RegExp(`^## ${command}$`, 'm'));
  });
});

describe('wrong use ends with 2, one line of what and one of where to look', () => {
  it.each([
    [['lunch'], "tdxctl: unknown command 'lunch'\n(Did you mean launch?)\nSee tdxctl --help.\n"],
    [
      ['measure', '--bakend', 'mock'],
      "tdxctl: unknown option '--bakend'\n(Did you mean --backend?)\nSee tdxctl measure --help.\n",
    ],
    [['validate'], "tdxctl: missing required argument 'config'\nSee tdxctl validate --help.\n"],
    [
      ['measure', 'a', 'b'],
      "tdxctl: too many arguments for 'measure'. Expected 1 argument but got 2.\nSee tdxctl measure --help.\n",
    ],
    [
      ['measure', '--backend', 'kvm'],
      "tdxctl: option '--backend <kind>' argument 'kvm' is invalid. Allowed choices are auto, native, mock.\nSee tdxctl measure --help.\n",
    ],
    [
      ['measure', '--backend', 'native', '--profile', 'x'],
      'tdxctl: --profile names a host for the model, and --backend native asks for the real one: use one of them\n',
    ],
    [['measure', '/no/such/file'], "tdxctl: cannot read the image '/no/such/file': no such file\n"],
    [['measure', '/'], "tdxctl: cannot read the image '/': it is a directory\n"],
    [['validate', '/no/such/file'], "tdxctl: cannot read the configuration '/no/such/file': no such file\n"],
    [['launch', '/no/such/file'], "tdxctl: cannot read the configuration '/no/such/file': no such file\n"],
    [
      ['launch', '--image', '/no/such/file', '--backend', 'mock'],
      "tdxctl: cannot read the image '/no/such/file': no such file\n",
    ],
  ])('%j', (args, text) => {
    expect(tdxctl(args)).toMatchObject({ code: 2, out: '', err: text });
  });
});

describe('a configuration that is not JSON', () => {
  const path = file('broken.json', '{\n  "vcpus": 2,\n}\n');

  it.each(['validate', 'launch'])('is refused by %s with line and column', (command) => {
    const { code, out, err } = tdxctl([command, path]);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toBe(
      `tdxctl: ${path}:3:1: not JSON: expected a property name in double quotes after ",", but there is "}"\n`,
    );
  });

  it('is told in JSON to who asked for JSON', () => {
    const run = tdxctl(['validate', '-', '--json'], { input: '[' });
    expect(run.code).toBe(1);
    expect(run.json()).toEqual({
      error: { name: 'CliError', message: 'standard input:1:2: not JSON: expected a value, but the file ends' },
    });
  });
});

describe('output', () => {
  it('to a pipe whose reader leaves is no error', () => {
    expect(shell('set -o pipefail; $TDXCTL measure --log | head -n 1')).toEqual({
      code: 0,
      out: 'TDH.MEM.PAGE.ADD  0xffff0000  section 0 (BFV)\n',
      err: '',
    });
  });

  it('has no colours where it goes to no terminal, whatever FORCE_COLOR and CI say', () => {
    expect(tdxctl(['measure'], { env: { FORCE_COLOR: '1', CI: '1' } }).out).not.toContain('\x1b');
  });

  // util-linux's script gives the program a terminal.
  const onTerminal = (env: string) => shell(`env ${env} script -qec "$TDXCTL measure" /dev/null < /dev/null`);
  const hasScript = shell('command -v script').code === 0;

  it.runIf(hasScript)('has colours on a terminal, and none with NO_COLOR or a dumb one', () => {
    expect(onTerminal('TERM=xterm').out).toContain('\x1b[1m');
    expect(onTerminal('TERM=xterm NO_COLOR=1').out).not.toContain('\x1b');
    expect(onTerminal('TERM=dumb').out).not.toContain('\x1b');
  });
});
