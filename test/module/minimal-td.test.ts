import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { interpreterEngine } from '../../src/mock/guest/interpreter/index.js';
import type { EnterHost, VpEnterArgs } from '../../src/mock/module/seamcall.js';
import { Host, SOURCE, TDH } from './host.js';

const IMAGE = readFileSync(new URL('../../images/minimal.bin', import.meta.url));
const END = 2 ** 32;
const PAGE = 4096;
const [IO, CPUID] = [30n, 10n];

it('the minimal TD learns all it asks the module for: its size, CPUID, a page, measurements', async () => {
  const host = new Host('1.5.06', { engine: async () => interpreterEngine() });
  const tdr = host.td({ maxVcpus: 4 });
  const tables = (gpa: bigint) => {
    for (const level of [3, 2, 1]) {
      const span = 1n << BigInt(12 + 9 * level);
      host.call(TDH.MEM_SEPT_ADD, { rcx: (gpa & ~(span - 1n)) | BigInt(level), rdx: tdr, r8: host.fresh() });
    }
  };
  tables(0n);
  tables(BigInt(END - PAGE));
  for (let at = 0; at < IMAGE.length; at += PAGE) {
    host.page(SOURCE).set(IMAGE.subarray(at, at + PAGE));
    const gpa = BigInt(END - IMAGE.length + at);
    host.add(tdr, gpa);
    for (let chunk = 0n; chunk < 4096n; chunk += 256n) host.must(TDH.MR_EXTEND, { rcx: gpa + chunk, rdx: tdr });
  }
  for (let gpa = 0x10000n; gpa < 0x14000n; gpa += 4096n) {
    host.page(SOURCE).fill(0);
    host.add(tdr, gpa);
  }
  const tdvpr = host.vcpu(tdr);
  host.must(TDH.MR_FINALIZE, { rcx: tdr });
  const outside: EnterHost = {
    signal: AbortSignal.timeout(5000),
    readShared: () => undefined,
    writeShared: () => false,
  };
  let text = '';
  let args: VpEnterArgs = { rcx: tdvpr };
  for (;;) {
    const exit = await host.module.vpEnter(args, outside);
    if (exit.status === 48n) {
      host.must(TDH.MEM_PAGE_AUG, { rcx: exit.r8, rdx: tdr, r8: host.fresh() });
      args = { rcx: tdvpr };
      continue;
    }
    if (exit.status !== 77n)
      throw new Error(
        `${decodeTdxStatus(exit.status).text} ${exit.stuck?.why} ${exit.stuck?.rip.toString(16)} ${text}`,
      );
    args = { rcx: tdvpr, r10: 0n, r11: 0n, r12: 0n, r13: 0n, r14: 0n, r15: 0n };
    if (exit.r11 === IO && exit.r14 === 0xf4n) break;
    if (exit.r11 === IO && exit.r14 === 0x3f8n) text += String.fromCharCode(Number(exit.r15));
    else if (exit.r11 !== CPUID && exit.r11 !== IO) throw new Error(`VMCALL ${exit.r11} ${text}`);
  }
  const { mrtd, rtmr } = host.module.tds.get(Number(tdr))!;
  const lines = text.split('\n');
  expect(lines[0]).toBe('Hello from a Trust Domain: GPAW 48, vCPUs 1 of at most 4, attributes 0x0000000000000000');
  expect(lines[1]).toBe("CPUID 0x21 from the module: 'IntelTDX    '");
  expect(lines[2]).toContain('after 1 #VE');
  expect(lines[3]).toBe('Page 0x80000 accepted: zero, written and read');
  expect(lines[4]).toBe(`MRTD ${Buffer.from(mrtd).toString('hex')}`);
  expect(lines[5]).toBe(`RTMR2 ${Buffer.from(rtmr.subarray(96, 144)).toString('hex')}`);
  await host.module.close();
});
