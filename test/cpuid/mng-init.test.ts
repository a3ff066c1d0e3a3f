import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bundledVersions, loadRules } from '../../src/cpuid/index.js';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { bootModule, MODULE_STOPPED, type ModuleBoot } from '../../src/mock/module/boot.js';
import { initTd } from '../../src/mock/module/mng-init.js';
import type { Platform } from '../../src/mock/platform.js';
import { bundledPlatforms, loadPlatform } from '../../src/mock/platforms.js';
import { runTdParams } from '../../src/vectors/tdparams.js';

function boot(version: string, platform: Platform): ModuleBoot {
  const result = bootModule(loadRules(version), platform);
  if (!result.ok) throw new Error(result.rule);
  return result.module;
}

/** The smallest valid TD_PARAMS: x87 and SSE, one vCPU, 4-level EPT, 1 GHz. */
function tdParams(change: (view: DataView) => void = () => {}): Uint8Array {
  const view = new DataView(new ArrayBuffer(1024));
  view.setBigUint64(8, 3n, true);
  view.setUint16(16, 1, true);
  view.setBigUint64(24, 0x1en, true);
  view.setUint16(40, 40, true);
  change(view);
  return new Uint8Array(view.buffer);
}

const spr = boot('1.5.06', loadPlatform('spr'));
const MIGRATABLE = 1n << 29n;

describe('TDH.MNG.INIT on the model', () => {
  it('reports the first check that fails, by its rulebook entry', () => {
    const wrong = tdParams((view) => {
      view.setBigUint64(0, 2n, true);
      view.setBigUint64(8, 0n, true);
    });
    const { status, rule, td } = initTd(spr, wrong, 6);
    expect([decodeTdxStatus(status).operand, rule, td]).toEqual([
      'ATTRIBUTES',
      'module.mng-init.attributes',
      undefined,
    ]);
  });

  it('names the CPUID leaf with a bit that cannot be configured', () => {
    const wrong = tdParams((view) => view.setUint32(256 + 6 * 16 + 4, 1, true));
    expect(initTd(spr, wrong, 6)).toMatchObject({ rcx: 0x1_0000_0007n, rule: 'module.mng-init.cpuid-config' });
  });

  it('gives each TD its own configuration', () => {
    const first = initTd(spr, tdParams(), 6).td!;
    const before = structuredClone(first);
    initTd(
      spr,
      tdParams((view) => view.setBigUint64(8, 7n, true)),
      6,
    );
    expect(first).toEqual(before);
  });

  it('does not change what it is given', () => {
    const params = tdParams();
    initTd(spr, params, 6);
    expect(params).toEqual(tdParams());
  });

  it('gives a virtual MAXPA that is native without MAXPA_VIRT and limited by the GPAW with it', () => {
    const maxpa = (flags: bigint): number | undefined =>
      initTd(
        spr,
        tdParams((view) => view.setBigUint64(32, flags, true)),
        6,
      ).td?.virtMaxpa;
    expect([maxpa(0n), maxpa(8n)]).toEqual([52, 48]);
  });

  it('stops the module where a migratable TD meets a processor that the module does not know', () => {
    const unknown = structuredClone(loadPlatform('spr'));
    unknown.sys.socket_fms = ['0x606a0'];
    const module = boot('1.5.06', unknown);
    const migratable = tdParams((view) => view.setBigUint64(0, MIGRATABLE, true));
    expect(initTd(module, migratable, 6)).toMatchObject({
      status: MODULE_STOPPED,
      rule: 'module.mng-init.fms-platform',
    });
    expect(initTd(module, tdParams(), 6).status).toBe(0n);
  });

  it('wants TD_PARAMS whole', () => {
    expect(() => initTd(spr, new Uint8Array(100), 6)).toThrow('TD_PARAMS: expected 1024 bytes, found 100');
  });

  it('answers any TD_PARAMS with a status of the module, on every module and platform', () => {
    const modules = bundledVersions().flatMap((version) =>
      bundledPlatforms().map((name) => boot(version, loadPlatform(name))),
    );
    const changes = fc.array(fc.tuple(fc.nat(1023), fc.nat(255)), { maxLength: 8 });
    fc.assert(
      fc.property(fc.constantFrom(...modules), changes, fc.nat(12), (module, bytes, pages) => {
        const params = tdParams();
        for (const [offset, value] of bytes) params[offset] = value;
        const { status, rule, td } = initTd(module, params, pages);
        expect(decodeTdxStatus(status).name).not.toBe('unknown');
        expect(status === 0n).toBe(td !== undefined && rule === undefined);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the runner of TD_PARAMS vectors', () => {
  const env = { platform: loadPlatform, moduleVersion: '1.5.06' };
  const testCase = (expected: object): Parameters<typeof runTdParams>[0] => ({
    profile: 'spr',
    tdcx_pages: 6,
    td_params: Buffer.from(tdParams()).toString('hex'),
    expect: { status: '0x0', ...expected },
  });

  it.each([
    [
      'another status',
      { status: '0xc000010000000041' },
      /^status: expected TDX_OPERAND_INVALID .*operand XFAM, found TDX_SUCCESS/,
    ],
    ['another RCX', { rcx: '0x7' }, 'rcx: expected 0x7, found 0x0'],
    ['another field', { tdcs: { tsc_frequency: 41 } }, 'tdcs.tsc_frequency: expected 41, found 40'],
    ['other flags', { tdcs: { cpuid_flags: ['tsx'] } }, 'tdcs.cpuid_flags: expected tsx, found '],
    ['a field that the model lacks', { tdcs: { nonsense: 1 } }, 'tdcs.nonsense: expected 1, found no such field'],
    [
      'another CPUID row',
      { tdcs: { cpuid: ['0:-:1:0,0,0,0'] } },
      /^cpuid: expected 0:-:1:0,0,0,0, found 0:-:1:00000023/,
    ],
    ['another digest', { digest: 'abc' }, /^digest: expected abc/],
    ['another short digest', { digest16: 'abc' }, /^digest16: expected abc/],
  ])('notices %s', (_, expected, difference) => {
    expect(runTdParams(testCase(expected), env)).toEqual({
      ok: false,
      difference: typeof difference === 'string' ? difference : expect.stringMatching(difference),
    });
  });

  it('says which call fails where a module does not start on the platform', () => {
    const old = structuredClone(loadPlatform('spr'));
    old.msr = { ...old.msr, '0xbd': '0x0' };
    const result = runTdParams(testCase({}), { ...env, platform: () => old });
    expect(result).toEqual({
      ok: false,
      difference: 'TDH.SYS.INIT refuses platform spr: TDX_INCORRECT_MSR_VALUE (0xc0000921000000bd), details 0xbd',
    });
  });
});
