import { afterEach, beforeEach, expect, it } from 'vitest';
import { bundledImage } from '../../src/image/index.js';
import type { KvmRegs, KvmSystem } from '../../src/kvm/index.js';
import { describeOnKernel, kernel } from '../contract/backends.js';
import { type Answers, type GuestBytes, runOnPlainKvm, sha384 } from './plain-kvm.js';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** A module that knows the leaves that the minimal TD uses, and nothing else. */
function tinyModule(): Answers {
  let rtmr2: Uint8Array = new Uint8Array(48);
  return {
    1: (regs) => Object.assign(regs, { rcx: 52n, rdx: 0x10000000n, r8: 0x8_0000_0004n }),
    2: (regs, memory) => {
      expect([regs.rcx % 64n, regs.rdx]).toEqual([0n, 2n]);
      rtmr2 = sha384(rtmr2, memory.read(Number(regs.rcx), 48));
    },
    3: (regs) => Object.assign(regs, { rcx: 10n, r10: 2n }),
    4: (regs, memory) => {
      expect([regs.rcx % 1024n, regs.rdx % 64n, regs.r8]).toEqual([0n, 0n, 0n]);
      const report = new Uint8Array(1024);
      report.set(
        new Uint8Array(48).map((_, i) => i),
        528,
      );
      report.set(rtmr2, 816);
      memory.write(Number(regs.rcx), report);
    },
    6: (regs) => expect(regs.rcx).toBe(0x80000n),
  };
}

const refuse = (status: bigint) => (regs: KvmRegs) => {
  regs.rax = status;
};

describeOnKernel('the images on the processor, TDX played by the test', () => {
  let system: KvmSystem;
  beforeEach(async ({ skip }) => {
    system = kernel.open();
    const { fatal } = await runOnPlainKvm(system, bundledImage('fatal'));
    skip(fatal === undefined, 'KVM here does not stop at TDCALL but raises #UD');
  });
  afterEach(() => system.close());
  const run = (answers: Answers, veCpuid: readonly number[] = [1]) =>
    runOnPlainKvm(system, bundledImage(), { answers, veCpuid });

  it('the minimal TD does all of it, says so, and ends with 0', async () => {
    const text = 'kvm-tdx: the minimal TD extends RTMR 2 by this. ';
    const mrtd = Uint8Array.from({ length: 48 }, (_, i) => i);
    const { console, status, end } = await run(tinyModule());
    expect(console.split('\n')).toEqual([
      'Hello from a Trust Domain: GPAW 52, vCPUs 4 of at most 8, attributes 0x0000000010000000',
      "CPUID 0x21 from the module: 'IntelTDX    '",
      'CPUID 0x40000000 from the host, after 1 #VE: EAX 0x40000001, EBX 0x4b4d564b, ECX 0x564b4d56, EDX 0x0000004d',
      'Page 0x80000 accepted: zero, written and read',
      `MRTD ${hex(mrtd)}`,
      `RTMR2 ${hex(sha384(new Uint8Array(48), Buffer.from(text)))}`,
      '',
    ]);
    expect({ status, end }).toEqual({ status: 0, end: 'parked' });
  });

  it('application processors park without a word', async () => {
    const ran = await runOnPlainKvm(system, bundledImage(), { index: 3 });
    expect(ran).toEqual({ console: '', end: 'parked' });
  });

  it('a page that the host is busy with is accepted in the end', async () => {
    let busy = 3;
    const { console, status } = await run({
      ...tinyModule(),
      6: (regs) => {
        if (busy-- > 0) regs.rax = 0x8000_0200_0000_0001n;
      },
    });
    expect(status).toBe(0);
    expect(busy).toBe(-1);
    expect(console).toContain('Page 0x80000 accepted');
  });

  it('a page that was accepted before is told as such', async () => {
    const { console, status } = await run({ ...tinyModule(), 6: refuse(0x0000_0b0a_0000_0000n) });
    expect(status).toBe(0);
    expect(console).toContain('Page 0x80000 was accepted before\n');
  });

  it('what the host left in the page is seen', async () => {
    const dirty = (_: KvmRegs, memory: GuestBytes) => memory.write(0x80ff8, Uint8Array.of(1));
    expect((await run({ ...tinyModule(), 6: dirty })).console).toContain('accepted: not zero, written and read\n');
  });

  it.each([
    [1, 'TDG.VP.INFO'],
    [2, 'TDG.MR.RTMR.EXTEND'],
    [3, 'TDG.VP.VEINFO.GET'],
    [4, 'TDG.MR.REPORT'],
    [6, 'TDG.MEM.PAGE.ACCEPT'],
  ])('a refused TDCALL %i (%s) is told and ends it with 1', async (leaf) => {
    const { console, status, end } = await run({ ...tinyModule(), [leaf]: refuse(0xc000_0100_0000_0001n) });
    expect(console.split('\n').slice(-2)).toEqual([`TDCALL ${leaf} refused: 0xc000010000000001`, '']);
    expect({ status, end }).toEqual({ status: 1, end: 'parked' });
  });

  it('a #VE that is not of CPUID is told and ends it with 2', async () => {
    const hlt = (regs: KvmRegs) => Object.assign(regs, { rcx: 12n, r10: 1n });
    const { console, status } = await run({ ...tinyModule(), 3: hlt });
    expect(console).toMatch(
      /\nException 20, exit reason 12, error code 0x0000000000000000, at 0x00000000ffff5[0-9a-f]{3}\n$/,
    );
    expect(status).toBe(2);
  });

  it('fatal reports an error with its text in the registers that the GHCI names', async () => {
    const { fatal, end } = await runOnPlainKvm(system, bundledImage('fatal'));
    const { r14, r15, rbx, rdi, rsi, r8, r9, rdx, rcx, r12, r13 } = fatal!;
    const text = Buffer.from(new BigUint64Array([r14, r15, rbx, rdi, rsi, r8, r9, rdx]).buffer).toString('latin1');
    expect(text.replace(/\0+$/, '')).toBe('This Trust Domain ends here, and meant to.');
    expect({ rcx, r12, r13, end }).toEqual({ rcx: 0xffccn, r12: 0n, r13: 0n, end: 'parked' });
  });

  it('triple-fault talks to the port as on a PC, which a TD may not', async () => {
    const { end, console } = await runOnPlainKvm(system, bundledImage('triple-fault'));
    expect(end).toMatchObject({ reason: 'io', direction: 'out', port: 0x3f8 });
    expect(console).toBe('');
  });
});
