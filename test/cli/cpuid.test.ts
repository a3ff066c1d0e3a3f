import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { tdxctl, temporaryFolder } from './tdxctl.js';

const file = temporaryFolder();
const SUBCOMMANDS = ['evaluate', 'explain', 'diff', 'solve', 'baseline'];

describe('tdxctl cpuid', () => {
  it.each(SUBCOMMANDS)('%s --help has examples and the common options, and docs/cli.md describes it', (command) => {
    const { code, out } = tdxctl(['cpuid', command, '--help']);
    expect(code).toBe(0);
    expect(out).toMatch(/^Examples:\n {2}\$ /m);
    for (const option of ['--profile <name|file>', '--module <version|file>', '--json']) expect(out).toContain(option);
    const docs = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
    expect(docs).toMatch(new RegExp(`^### cpuid ${command}$`, 'm'));
  });

  it('evaluate shows each field of a leaf with its kind and reason', () => {
    const { code, out } = tdxctl([
      'cpuid',
      'evaluate',
      file('avx.json', '{"xfam": ["AVX"]}'),
      '--profile',
      'spr-1.5.06',
      '--leaf',
      '7.0',
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/\[16\] +AVX512F +0 +xfam +0: XFAM lacks OPMASK, ZMM_HI256, HI16_ZMM/);
  });

  it('evaluate ends with 1 for what is refused, and says why', () => {
    const { code, json } = tdxctl([
      'cpuid',
      'evaluate',
      file('tsx.json', '{"features": {"HLE": true, "RTM": true}}'),
      '--profile',
      'spr-1.5.06',
      '--json',
    ]);
    expect(code).toBe(1);
    expect(json()).toMatchObject({ host: 'spr-1.5.06', module: '1.5.06', accepted: false });
    expect(JSON.stringify(json()['findings'])).toContain('kvm.init-vm.tsx-waitpkg');
  });

  it('evaluate --module alone knows the module, not the processor', () => {
    const registers = tdxctl(['cpuid', 'evaluate', '--module', '1.5.06', '--json', '--leaf', '0']).json()['registers'];
    expect(registers).toMatchObject([{ register: 'eax', guest: { value: '0x23', unknown: '0x0' } }, {}, {}, {}]);
  });

  it('explain gives advice as a configuration', () => {
    const { code, json } = tdxctl(['cpuid', 'explain', 'AVX512F', '-', '--profile', 'spr-1.5.06', '--json'], {
      input: '{"xfam": ["AVX"]}',
    });
    expect(code).toBe(0);
    expect(json()).toMatchObject({
      name: 'AVX512F',
      kind: 'xfam',
      advice: [
        { value: 1, answer: 'change', config: { xfam: ['AVX512'] } },
        { value: 0, answer: 'so' },
      ],
    });
  });

  it('diff ends with 0 for the same and with 1 for what differs', () => {
    expect(tdxctl(['cpuid', 'diff', 'spr-1.5.06', 'spr-1.5.06']).code).toBe(0);
    const { code, out } = tdxctl(['cpuid', 'diff', 'spr-1.5.06', 'gnr-1.5.06']);
    expect(code).toBe(1);
    expect(out).toMatch(/EAX\[7:4\] +MODEL +0xf -> 0xd/);
  });

  it('solve prints a configuration that evaluate accepts, or the wishes that exclude each other', () => {
    const solved = tdxctl([
      'cpuid',
      'solve',
      '--want',
      'AVX512',
      '--avoid',
      'TSX',
      '--profile',
      'spr-1.5.06',
      '--json',
    ]).json();
    const config = file('solved.json', JSON.stringify(solved['config']));
    expect(tdxctl(['cpuid', 'evaluate', config, '--profile', 'spr-1.5.06', '--json']).json()).toMatchObject({
      accepted: true,
    });
    const { code, json } = tdxctl([
      'cpuid',
      'solve',
      '--want',
      'PERFMON',
      '--migratable',
      '--module',
      '1.5.06',
      '--json',
    ]);
    expect(code).toBe(1);
    expect(json()).toMatchObject({ solved: false, conflict: ['PERFMON', 'migratable'] });
  });

  it('baseline prints one configuration for all, and what each loses', () => {
    const { code, json } = tdxctl(['cpuid', 'baseline', 'spr-1.5.06', 'spr_lass-1.5.06', '--json']);
    expect(code).toBe(0);
    expect(json()).toMatchObject({ same: true, differences: [], hosts: [{ accepted: true }, { accepted: true }] });
  });

  it.each([
    [
      ['explain', 'AVX51F'],
      "tdxctl: 'AVX51F' names no bit of CPUID, expected a feature or a place such as 7.0.ebx[4]; did you mean AVX512F?\n",
    ],
    [['evaluate', '--module', '1.4.0'], "tdxctl: there are no rules for TDX module '1.4.0'\n"],
    [['evaluate', '--leaf', 'seven'], "tdxctl: --leaf is 'seven', expected a whole number\n"],
    [['diff', 'nothing', 'spr-1.5.06'], "tdxctl: 'nothing' is no file, profile or module version\n"],
    [['solve', '--want', 'MODEL'], 'tdxctl: MODEL (CPUID(0x1).EAX[7:4]) is a field of several bits'],
  ])('%j is wrong use', (args, err) => {
    const run = tdxctl(['cpuid', ...args]);
    expect({ code: run.code, err: run.err.slice(0, err.length) }).toEqual({ code: 2, err });
  });
});
