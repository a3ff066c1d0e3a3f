import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { bundledImage } from '../../src/image/index.js';
import { measureTd } from '../../src/measure/index.js';
import { PROGRAM, type Run, tdxctl, temporaryFolder } from './tdxctl.js';

const file = temporaryFolder();
const onModel = (...args: string[]) => tdxctl([...args, '--backend', 'mock']);
const { mrtd } = measureTd(bundledImage());

const imageFile = (name: string) => fileURLToPath(new URL(`../../images/${name}.bin`, import.meta.url));

/** One page that ends at 4 GiB: `code` is what a TD executes first, in 32-bit protected mode. */
const resetVector = (name: string, code: string) =>
  file(name, JSON.stringify({ pages: [{ gpa: '0xfffff000', hex: `${'00'.repeat(0xff0)}${code}` }] }));
/** jmp $ */
const loops = resetVector('loops.json', 'ebfe');

describe('tdxctl launch', () => {
  it.each(['auto', 'interpreter'])(
    'prints what the TD says on standard output, and on the other how it ended (--engine %s)',
    (engine) => {
      const { code, out, err } = onModel('launch', '--engine', engine);
      expect(code).toBe(0);
      expect(out).toMatch(
        new RegExp(`^state {2}finalized\nMRTD {3}${mrtd}\n\nHello from a Trust Domain: .*\nMRTD ${mrtd}\n`, 'ms'),
      );
      expect(err).toMatch(
        /^engine (kvm: a plain VM|interpreter: x86-64) .*\nended {2}The guest ended with 0 through port 0xf4 \(\d+ ms, 1 exit\)\n/,
      );
      expect(err).toMatch(/\nMRTD {3}The guest has printed the same\.\n$/);
    },
  );

  it('gives scripts the outcome, with what the TD printed and which engine executed it', () => {
    const { code, err, json } = onModel('launch', '--json', '--engine', 'interpreter');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(json()).toMatchObject({
      backend: 'mock',
      state: 'ended',
      mrtd,
      run: {
        how: 'exit-port',
        vcpu: 0,
        exitCode: 0,
        message: 'The guest ended with 0 through port 0xf4',
        mrtd: { reported: mrtd, matches: true },
        console: { bytes: expect.any(Number), dropped: 0, text: expect.stringMatching(/^Hello from a Trust Domain/) },
        engine: { name: 'interpreter', description: expect.any(String) },
        durationMs: expect.any(Number),
        vcpus: [{ id: 0, exits: expect.any(Number), lastExit: { text: expect.stringContaining('0xf4') } }],
      },
    });
  });

  it('of a guest that gives up shows its last words, and ends with 1', () => {
    const { code, err } = onModel('launch', '--image', imageFile('fatal'));
    expect(code).toBe(1);
    expect(err).toMatch(
      /^ended {2}The guest reported a fatal error: "This Trust Domain ends here, and meant to\.", code 0x0/m,
    );
    const { run } = onModel('launch', '--image', imageFile('fatal'), '--json').json() as { run: object };
    expect(run).toMatchObject({ how: 'fatal-error', fatal: { code: 0, registers: { r12: '0x0' } } });
  });

  it('of a guest with a triple fault says what the usual reason is, and ends with 1', () => {
    const { code, err } = onModel('launch', '--image', imageFile('triple-fault'));
    expect(code).toBe(1);
    expect(err).toMatch(/^ended {2}vCPU 0 had a triple fault .*\n.*#VE/m);
  });

  it.each(['auto', 'interpreter'])('ends a guest that loops for ever after --timeout, on engine %s', (engine) => {
    const { code, err } = onModel('launch', '--image', loops, '--timeout', '0.2', '--engine', engine);
    expect(code).toBe(1);
    expect(err).toMatch(/^ended {2}The guest was still running after 200 ms/m);
    expect(err).toContain('Last exit of vCPU 0: none seen.');
  });

  it('ends cleanly on SIGINT: the TD is closed and the trace complete', async () => {
    const trace = file('interrupted.txt', '');
    const child = spawn(process.execPath, [PROGRAM, 'launch', '--backend', 'mock', '--image', loops, '--trace', trace]);
    let err = '';
    child.stderr.once('data', () => child.kill('SIGINT'));
    child.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    const [code] = await once(child, 'close');
    expect(code).toBe(1);
    expect(err).toMatch(/\nended {2}The run was aborted: interrupted/);
    expect(readFileSync(trace, 'utf8')).toMatch(/TDH\.MNG\.KEY\.FREEID .*\n(.*TDH\.PHYMEM\..*\n)+$/);
  });

  it('traces what the guest asked of the TDX module and of KVM, and what the kernel did for it', () => {
    const trace = file('trace.txt', '');
    expect(onModel('launch', '--engine', 'interpreter', '--trace', trace).code).toBe(0);
    const text = readFileSync(trace, 'utf8');
    for (const line of [
      /^ +\d+\.\d{3} ms +TDH\.MNG\.CREATE {2}tdr 0x[0-9a-f]+, hkid 0x[0-9a-f]+ {2}-> TDX_SUCCESS$/m,
      /ms {2}vcpu 0 {3}0xffff[0-9a-f]{4} {2}TDG\.VP\.INFO {2}-> TDX_SUCCESS, gpaw 0x30, attributes 0x10000000/,
      /TDG\.VP\.VMCALL<Instruction\.IO> {2}direction out, port 0x3f8, size 1, data 0x48$/m,
      /#VE {2}reason CPUID \(10\)/,
      /TDG\.VP\.VEINFO\.GET {2}-> TDX_SUCCESS, exit_reason CPUID \(10\)/,
      /TDG\.MEM\.PAGE\.ACCEPT {2}gpa_and_level 0x80000 {2}-> TDX_SUCCESS/,
      /KVM_EXIT_IO {2}direction out, port 0xf4, size 1, data 00$/m,
    ])
      expect(text).toMatch(line);
  });

  it('traces as JSON lines, with registers', () => {
    const trace = file('trace.jsonl', '');
    onModel('launch', '--engine', 'interpreter', '--trace', trace, '--trace-format', 'json');
    const records = readFileSync(trace, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(records.find(({ name }) => name === 'TDG.VP.INFO')).toMatchObject({
      seen: 'guest',
      vcpu: 0,
      atMs: expect.any(Number),
      rip: expect.stringMatching(/^0xffff/),
      status: 'TDX_SUCCESS',
      results: { gpaw: '0x30', vcpus: '0x800000001' },
      registers: { rax: '0x1' },
      changed: { rax: '0x0', rcx: '0x30' },
    });
    expect(records.at(-1)).toMatchObject({ seen: 'host' });
  });

  it.each([
    [['--timeout', 'soon'], "--timeout is 'soon', expected seconds, 0.001 to 2147483"],
    [['--timeout', '0'], "--timeout is '0', expected seconds"],
    [['--trace', '/no/such/folder/trace'], "cannot write the trace '/no/such/folder/trace'"],
    [
      ['--engine', 'fast'],
      "option '--engine <engine>' argument 'fast' is invalid. Allowed choices are auto, kvm, interpreter.",
    ],
  ])('%j is wrong use', (args, text) => {
    const { code, out, err } = onModel('launch', ...args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toContain(text);
  });
});

describe('tdxctl launch --no-run', () => {
  let run: Run;
  beforeAll(() => {
    run = onModel('launch', '--no-run');
  });

  it('shows each step with its duration and request, then the state and the MRTD', () => {
    expect(run.code).toBe(0);
    expect(run.err).toBe('');
    for (const request of ['KVM_CREATE_VM', 'KVM_TDX_INIT_VM', 'KVM_TDX_INIT_MEM_REGION', 'KVM_TDX_FINALIZE_VM']) {
      expect(run.out).toMatch(new RegExp(`^ +\\d+\\.\\d ms {2}${request} +\\S`, 'm'));
    }
    expect(run.out).toMatch(new RegExp(`^state {2}finalized\nMRTD {3}${mrtd}\n$`, 'm'));
  });

  it('gives scripts backend, mrtd and state', () => {
    expect(onModel('launch', '--no-run', '--json').json()).toMatchObject({
      backend: 'mock',
      profile: 'spr-1.5.06',
      state: 'finalized',
      mrtd,
      maxVcpus: { limit: 8, reason: expect.any(String) },
      findings: [],
      image: { name: 'minimal', kind: 'tdvf' },
    });
  });

  it('takes the image of --image, or that of the configuration, relative to it', () => {
    file('minimal.bin', readFileSync(new URL('../../images/minimal.bin', import.meta.url)));
    const config = file('with-image.json', '{"image": "minimal.bin", "memory": "16MiB"}');
    const list = file('hlt.json', '{"pages": [{"gpa": "0x1000", "hex": "f4"}]}');
    expect(onModel('launch', '--no-run', config, '--json').json()).toMatchObject({
      image: { name: 'minimal.bin' },
      mrtd,
    });
    const other = onModel('launch', '--no-run', config, '--image', list, '--json').json();
    expect(other).toMatchObject({ image: { name: 'hlt.json', kind: 'pages' }, state: 'finalized' });
    expect(other['mrtd']).not.toBe(mrtd);
  });

  it('refuses a configuration with every finding, before a TD exists', () => {
    const config = file('refused.json', '{"vcpus": 9, "xfam": ["CTE"]}');
    const { code, out, err } = onModel('launch', '--no-run', config);
    expect(code).toBe(1);
    expect(out).not.toContain('KVM_TDX_INIT_VM');
    expect(out.match(/^error /gm)).toHaveLength(2);
    expect(err).toBe('tdxctl: not launched: no TD can be made of this configuration\n');
    expect(onModel('launch', '--no-run', config, '--json').json()).toMatchObject({
      backend: 'mock',
      state: 'failed',
      error: { name: 'TdConfigError', code: 'ERR_TD_CONFIG', findings: [{ path: 'xfam[0]' }, { path: 'vcpus' }] },
    });
  });

  it('tells of a kernel that refuses, without a stack', () => {
    const { code, err } = tdxctl(['launch', '--profile', 'spr-1.5.01']);
    expect(code).toBe(1);
    expect(err).toMatch(/^tdxctl: .*EINVAL.*KVM_CREATE_VM/);
    expect(err).toMatch(/^tdxctl host says what is missing\.$/m);
    expect(err).not.toMatch(/^\s+at /m);
  });
});
