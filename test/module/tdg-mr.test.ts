import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { Step } from './fake-engine.js';
import { LEAVE, RunningTd, result, statusOf, tdcall, words } from './guest-td.js';
import { TDH } from './host.js';

const EXTEND = 2;
const REPORT = 4;
const SHARED = 1n << 47n;
const sha384 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha384');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const ascii = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replace(/\0+$/, '');

/** Fills memory of the guest, then makes a TDCALL. */
const withBytes =
  (gpa: number, bytes: Uint8Array, call: Step): Step =>
  async (cpu) => {
    const td = fresh!;
    td.td.writePrivate(gpa, bytes);
    return typeof call === 'function' ? await call(cpu) : call;
  };
let fresh: RunningTd | undefined;

async function run(options: ConstructorParameters<typeof RunningTd>[0], ...steps: Step[]): Promise<RunningTd> {
  fresh = new RunningTd(options, [...steps, LEAVE]);
  await fresh.enter();
  return fresh;
}

describe('TDG.MR.RTMR.EXTEND', () => {
  const digest = Uint8Array.from({ length: 48 }, (_, i) => i);

  it('hashes the old value and 48 bytes of private memory into the register', async () => {
    const td = await run(
      { pages: [0x1000n] },
      withBytes(0x1040, digest, tdcall(EXTEND, { rcx: 0x1040n, rdx: 2n })),
      tdcall(EXTEND, { rcx: 0x1040n, rdx: 2n }),
      tdcall(EXTEND, { rcx: 0x1040n, rdx: 3n }),
    );
    const once = sha384(new Uint8Array(48), digest);
    const { rtmr } = td.host.module.tds.get(Number(td.tdr))!;
    expect(Buffer.from(rtmr)).toEqual(Buffer.concat([Buffer.alloc(96), sha384(once, digest), once]));
  });

  it.each([
    ['an address that is not a multiple of 64', { rcx: 0x1020n, rdx: 2n }, 'RCX', 'module.operand.alignment'],
    ['shared memory', { rcx: SHARED + 0x1000n, rdx: 2n }, 'RCX', 'module.operand.gpa'],
    ['an address beyond the GPA width', { rcx: 1n << 48n, rdx: 2n }, 'RCX', 'module.operand.gpa'],
    ['a fifth register', { rcx: 0x1000n, rdx: 4n }, 'RDX', 'module.rtmr.index'],
  ])('refuses %s', async (_, registers, operand, rule) => {
    expect(await result({ pages: [0x1000n] }, tdcall(EXTEND, registers))).toEqual({
      status: `TDX_OPERAND_INVALID, operand ${operand}`,
      rule,
    });
  });

  it('leaves the TD where the page is missing, and is executed again', async () => {
    const td = new RunningTd({}, [tdcall(EXTEND, { rcx: 0x1000n, rdx: 9n })]);
    expect(await td.enter()).toMatchObject({ status: 48n, rcx: 1n, r8: 0x1000n });
    expect(td.cpu.rip).toBe(0xffff_fff0n);
    expect(td.cpu.gprs[0]).toBe(2n);
  });

  it('gives a #VE without linear address where the page is pending', async () => {
    const td = new RunningTd({}, [tdcall(EXTEND, { rcx: 0x1000n }), LEAVE]);
    td.host.must(TDH.MEM_PAGE_AUG, { rcx: 0x1000n, rdx: td.tdr, r8: td.host.fresh() });
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 20 }]);
    expect(td.host.module.tds.get(Number(td.tdr))?.vcpus[0]?.veInfo).toMatchObject({
      gla: 0n,
      gpa: 0x1000n,
      qualification: 1n,
    });
  });
});

describe('TDG.MR.REPORT', () => {
  const data = Uint8Array.from({ length: 64 }, (_, i) => 64 - i);
  const params = { attributes: 0x1000_0000, pages: [0x1000n] } as const;
  const made = (): Promise<RunningTd> =>
    run(params, withBytes(0x1400, data, tdcall(REPORT, { rcx: 0x1000n, rdx: 0x1400n, r8: 0n })));

  it('is a TDX report (type 0x81, subtype 0, version 0) of the data', async () => {
    const report = (await made()).bytes(0x1000, 1024);
    expect([...report.subarray(0, 4)]).toEqual([0x81, 0, 0, 0]);
    expect(report.subarray(128, 192)).toEqual(data);
  });

  it('has the hashes of its two parts', async () => {
    const report = (await made()).bytes(0x1000, 1024);
    expect(Buffer.from(report.subarray(32, 80))).toEqual(sha384(report.subarray(256, 256 + 239)));
    expect(Buffer.from(report.subarray(80, 128))).toEqual(sha384(report.subarray(512)));
  });

  it('has ATTRIBUTES, XFAM, MRTD and RTMRs', async () => {
    const td = await run(
      params,
      tdcall(EXTEND, { rcx: 0x1000n, rdx: 0n }),
      tdcall(REPORT, { rcx: 0x1000n, rdx: 0x1400n }),
    );
    const report = td.bytes(0x1000, 1024);
    const view = new DataView(report.slice().buffer);
    const { mrtd } = td.host.module.tds.get(Number(td.tdr))!;
    expect([view.getBigUint64(512, true), view.getBigUint64(520, true)]).toEqual([0x1000_0000n, 3n]);
    expect(report.subarray(528, 576)).toEqual(mrtd);
    expect(Buffer.from(report.subarray(720, 768))).toEqual(sha384(new Uint8Array(96)));
    expect(report.subarray(768, 1024).every((byte) => byte === 0)).toBe(true);
  });

  it('cannot be taken for a real one: module and MAC are text that says so', async () => {
    const report = (await made()).bytes(0x1000, 1024);
    expect(ascii(report.subarray(256 + 24, 256 + 72))).toBe("kvm-tdx model, not Intel's TDX module 1.5.06");
    expect(ascii(report.subarray(224, 256))).toBe('kvm-tdx model: this is not a MAC');
  });

  it('goes to shared memory as well', async () => {
    const shared = new Map([[0x5000, new Uint8Array(4096)]]);
    const gpa = SHARED + 0x5000n;
    const outcome = await result({ ...params, shared }, tdcall(REPORT, { rcx: gpa, rdx: gpa + 0x400n, r8: 0n }));
    expect(outcome.status).toBe('TDX_SUCCESS');
    expect(shared.get(0x5000)![0]).toBe(0x81);
  });

  it.each([
    ['a report that is not aligned to 1024 bytes', { rcx: 0x1200n, rdx: 0x1000n }, 'RCX', 'module.operand.alignment'],
    ['data that are not aligned to 64 bytes', { rcx: 0x1000n, rdx: 0x1020n }, 'RDX', 'module.operand.alignment'],
    ['data beyond the GPA width', { rcx: 0x1000n, rdx: 1n << 50n }, 'RDX', 'module.operand.gpa'],
    ['a subtype', { rcx: 0x1000n, rdx: 0x1000n, r8: 1n }, 'R8', 'module.report.subtype'],
  ])('refuses %s', async (_, registers, operand, rule) => {
    const outcome = await result(params, tdcall(REPORT, { r8: 0n, ...registers }));
    expect(outcome).toEqual({ status: `TDX_OPERAND_INVALID, operand ${operand}`, rule });
  });

  it('asks for the page of the report with a write access', async () => {
    const td = new RunningTd(params, [tdcall(REPORT, { rcx: 0x2000n, rdx: 0x1000n, r8: 0n })]);
    const exit = await td.enter();
    expect(exit).toMatchObject({ rcx: 3n, r8: 0x2000n });
    expect(words(exit.status)).toBe('TDX_SUCCESS, details 0x30');
  });
});

describe('TDG.MR.VERIFYREPORT', () => {
  const VERIFY = 22;
  const pages = [0x1000n];
  const report = tdcall(REPORT, { rcx: 0x1000n, rdx: 0x1400n, r8: 0n });
  const verify = tdcall(VERIFY, { rcx: 0x1000n });

  it('knows the reports that this module made', async () => {
    expect((await result({ pages }, [report, verify])).status).toBe('TDX_SUCCESS');
  });

  it.each([
    ['another report', 130, 'TDX_INVALID_REPORTMACSTRUCT', 'module.verifyreport.mac'],
    ['another platform', 16, 'TDX_INVALID_CPUSVN', 'module.verifyreport.cpusvn'],
  ])('refuses %s', async (_, offset, status, rule) => {
    const td = await run({ pages }, report, withBytes(0x1000 + offset, Uint8Array.of(1), verify));
    expect(statusOf(td)).toEqual({ status, rule });
  });

  it('wants its operand aligned to 256 bytes', async () => {
    expect((await result({ pages }, tdcall(VERIFY, { rcx: 0x1080n }))).rule).toBe('module.operand.alignment');
  });
});
