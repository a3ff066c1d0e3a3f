import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { smallFirmware } from '../platform/small-firmware.js';
import { PROGRAM, shell, tdxctl, temporaryFolder } from './tdxctl.js';

const file = temporaryFolder();
const image = file('echo.fd', smallFirmware({ mask: 0xfc00, text: 'Shell>', echoes: true }));
const ARGS = ['launch', '--backend', 'mock', '--engine', 'interpreter', '--image', image];

describe('tdxctl launch --interactive', () => {
  it('gives the guest what is piped into it, byte for byte', () => {
    const { code, out } = tdxctl([...ARGS, '--interactive'], { input: 'ls fs0:\r\n\x03\x1d\x80q' });
    expect(code).toBe(0);
    expect(out).toContain('Shell>ls fs0:\r\n\x03\x1d');
  });

  it('without it the guest hears nothing', () => {
    const { code, out, err } = tdxctl([...ARGS, '--timeout', '1'], { input: 'hello q' });
    expect(code).toBe(1);
    expect(out).not.toContain('hello');
    expect(err).toMatch(/^ended {2}The guest was still running after 1000 ms/m);
  });

  it('ends with the guest, however much more could be read', async () => {
    const child = spawn(process.execPath, [PROGRAM, ...ARGS, '--interactive']);
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      if (!out.includes('Shell>') && `${out}${chunk}`.includes('Shell>')) child.stdin.write('once q and more');
      out += chunk.toString();
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    expect(out).toMatch(/Shell>once $/);
  });

  it('goes on when standard input ends', () => {
    const { code, err } = tdxctl([...ARGS, '--interactive', '--timeout', '1'], { input: 'x' });
    expect(code).toBe(1);
    expect(err).toMatch(/^ended {2}The guest was still running after 1000 ms/m);
  });

  const script = shell('command -v script').code === 0;
  it.skipIf(!script)('on a terminal Ctrl-C is the guest’s, and Ctrl-] ends the run', async () => {
    const line = `${process.execPath} ${PROGRAM} ${ARGS.join(' ')} --interactive; stty -a`;
    const child = spawn('script', ['-qec', line, '/dev/null']);
    let out = '';
    const answers: [string, string][] = [
      ['Shell>', 'a\x03b'],
      ['a\x03b', '\x1d'],
    ];
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (answers[0] && out.includes(answers[0][0])) child.stdin.write(answers.shift()![1]);
    });
    await once(child, 'close');
    expect(answers).toEqual([]);
    // What is said of the run begins a line of its own.
    expect(out).toMatch(/b\r\nended {2}The run was aborted: interrupted/);
    // The terminal is as it was.
    expect(out).toMatch(/ icanon /);
    expect(out).toMatch(/ echo /);
  });

  it('does not share standard input with the configuration', () => {
    const { code, err } = tdxctl(['launch', '-', '--interactive'], { input: '{}' });
    expect(code).toBe(2);
    expect(err).toContain('--interactive and the configuration - both want standard input');
  });
});
