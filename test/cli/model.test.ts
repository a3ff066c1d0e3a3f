import { describe, expect, it } from 'vitest';
import { tdxctl, temporaryFolder } from './tdxctl.js';

const file = temporaryFolder();
const onModel = (...args: string[]) => tdxctl([...args, '--backend', 'mock']);

describe('what the model answers says so', () => {
  const td = file('td.json', '{}');

  it.each([['capabilities'], ['validate', td], ['launch', '--no-run']])('%s, in its first line', (...args) => {
    expect(onModel(...args).out).toMatch(/^mock: model of a TDX host, profile spr-1\.5\.06 /);
  });

  it.each([['host'], ['capabilities'], ['validate', td], ['launch', '--no-run']])(
    '%s --json, as backend and profile',
    (...args) => {
      expect(onModel(...args, '--json').json()).toMatchObject({ backend: 'mock', profile: 'spr-1.5.06' });
    },
  );

  it('also where KVM_TDX_BACKEND asked for it', () => {
    const run = tdxctl(['capabilities', '--json'], { env: { KVM_TDX_BACKEND: 'mock' } });
    expect(run.json()).toMatchObject({ backend: 'mock' });
  });

  it('a profile implies it', () => {
    expect(tdxctl(['capabilities', '--profile', 'gnr-1.5.06', '--json']).json()).toMatchObject({
      profile: 'gnr-1.5.06',
    });
  });
});

describe('tdxctl capabilities', () => {
  const { out } = onModel('capabilities');

  it('names attributes, XFAM, TDVMCALLs and CPUID bits', () => {
    expect(out).toContain('\nAttributes 0x10000000\n  SEPT_VE_DISABLE  bit 28  ');
    expect(out).toMatch(/^ {2}XTILEDATA +bit 18 /m);
    expect(out).toMatch(/^ {2}user space +SetupEventNotifyInterrupt \(bit 1\)$/m);
    expect(out).toMatch(/^ {2}0x7\.1 +EAX 0x00001c30 {2}AVX_VNNI \(bit 4\), /m);
  });

  it('says how many vCPUs a TD may have, and who decides', () => {
    expect(out).toMatch(/^vCPUs of a TD: at most 8\n {2}this kernel fixes it at 8 /m);
    const settable = tdxctl(['capabilities', '--profile', 'spr-1.5.06-max-vcpus']);
    expect(settable.out).toContain('a TD may be given its own limit, maxVcpus');
  });

  it('gives scripts the same', () => {
    const json = onModel('capabilities', '--json').json() as { cpuid: object[] };
    expect(json).toMatchObject({
      attributes: { value: '0x10000000', names: ['SEPT_VE_DISABLE'] },
      xfam: {
        value: '0x602e7',
        names: ['X87', 'SSE', 'AVX', 'OPMASK', 'ZMM_HI256', 'HI16_ZMM', 'PKRU', 'XTILECFG', 'XTILEDATA'],
      },
      tdvmcallInfo: { kernelR11: '0x0', userR11: '0x2', kernelR12: '0x0', userR12: '0x0' },
      vcpus: { max: 8, settable: false, systemMax: 1024, reason: expect.any(String) },
      tsc: { hostKhz: 2_000_000, unitKhz: 25_000, minKhz: 100_000, maxKhz: 10_000_000 },
      gpaw: { widths: expect.arrayContaining([48]) },
    });
    expect(json.cpuid).toHaveLength(18);
    expect(json.cpuid).toContainEqual({
      leaf: '0x7',
      subleaf: 1,
      eax: '0x1c30',
      ebx: '0x0',
      ecx: '0x0',
      edx: '0x0',
      bits: { eax: 'AVX_VNNI (bit 4), AVX512_BF16 (bit 5), FZRM (bit 10), FSRS (bit 11), FSRC (bit 12)' },
    });
  });
});

describe('tdxctl capture', () => {
  it('gives a profile with which capabilities answers the same', () => {
    const captured = onModel('capture', '--name', 'lab');
    expect(captured.code).toBe(0);
    const path = file('lab.json', captured.out);
    const { profile, description, ...answer } = tdxctl(['capabilities', '--profile', path, '--json']).json();
    const { profile: _name, description: _text, ...expected } = onModel('capabilities', '--json').json();
    expect(answer).toEqual(expected);
    expect([profile, description]).toEqual(['lab', expect.stringContaining('profile lab ')]);
  });

  it('of a host without TDX says so, and ends with 1', () => {
    const { code, out, err } = tdxctl(['capture', '--profile', 'spr-1.5.01']);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(
      /^tdxctl: nothing to capture: KVM of a model of spr-1\.5\.01.* offers no TDs \(KVM_CAP_VM_TYPES is 0x1, bit 5 is clear\)/,
    );
  });
});

describe('tdxctl validate', () => {
  it('finds nothing to say about the defaults', () => {
    const { code, out } = onModel('validate', file('empty.json', '{}'));
    expect(code).toBe(0);
    expect(out.split('\n').at(-2)).toBe('valid: nothing to report');
  });

  it('reports every finding with what, why and a fix', () => {
    const config = file('bad.json', '{"xfam": ["CTE"], "vcpus": 9, "attributes": ["DEBUG"]}');
    const { code, out } = onModel('validate', config);
    expect(code).toBe(1);
    expect(out).toMatch(/^error {2}xfam\[0\]: "CTE" .*\n +why: .* \[config\.unknown-name\]\n +fix: Give one of X87, /m);
    expect(out).toMatch(/^error {2}attributes: .*\n +why: .* \[kvm\.init-vm\.attributes-supported\]$/m);
    expect(out).toMatch(/^not valid: 3 errors, 1 warning$/m);
  });

  it('gives scripts ok and findings', () => {
    const run = tdxctl(['validate', '-', '--backend', 'mock', '--json'], { input: '{"vcpus": 9}' });
    expect(run.code).toBe(1);
    expect(run.json()).toMatchObject({
      ok: false,
      findings: [
        {
          rule: 'trap.max-vcpus-kernel',
          path: 'vcpus',
          severity: 'error',
          what: expect.any(String),
          why: expect.any(String),
          fix: expect.any(String),
        },
      ],
    });
  });
});

describe('tdxctl host', () => {
  it('shows a modelled host as one, and that it is ready', () => {
    const { code, out } = onModel('host');
    expect(code).toBe(0);
    expect(out).toMatch(/^a model of spr-1\.5\.06: /);
    expect(out).toMatch(
      /^pass {2}firmware: Private KeyIDs for TDX +32, one of them the module's: 31 TDs at a time \(MSR 0x87\)$/m,
    );
    expect(out).toMatch(/^skip {2}kernel: Kernel log about TDX +the model has no kernel log$/m);
    expect(out).toMatch(/\nThis is a model: it says nothing about this machine\.\n$/);
  });

  it('of a modelled host whose module is too old ends with 1', () => {
    const run = tdxctl(['host', '--profile', 'spr-1.5.01', '--json']);
    expect(run.code).toBe(1);
    expect(run.json()).toMatchObject({ backend: 'mock', ready: false, firstFailure: { id: 'kvm.vm-types' } });
  });

  it('looks at this machine otherwise, whatever KVM_TDX_BACKEND says', () => {
    const run = tdxctl(['host', '--json'], { env: { KVM_TDX_BACKEND: 'mock' } });
    const json = run.json() as { backend: string; subject: string; ready: boolean; checks: { id: string }[] };
    expect(json).toMatchObject({ backend: 'native', subject: 'this machine' });
    expect(run.code).toBe(json.ready ? 0 : 1);
    expect(json.checks.map(({ id }) => id)).toContain('kvm.vm-types');
  });
});

describe('a profile or backend that does not exist is wrong use', () => {
  it.each(['host', 'capabilities', 'capture', 'launch'])('%s --profile nope names those that there are', (command) => {
    const { code, out, err } = tdxctl([command, '--profile', 'nope']);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(/^tdxctl: no profile 'nope' .*one of .*spr-1\.5\.06/);
  });

  it('KVM_TDX_BACKEND too', () => {
    expect(tdxctl(['capabilities'], { env: { KVM_TDX_BACKEND: 'foo' } })).toMatchObject({
      code: 2,
      err: "tdxctl: KVM_TDX_BACKEND is 'foo', expected one of auto, native, mock\n",
    });
  });
});
