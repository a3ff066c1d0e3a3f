// CPUID as a guest sees it that executes the instruction: on both engines as the vectors say, in every case.
import { readdirSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import { interpreterEngine } from '../../src/mock/guest/interpreter/index.js';
import { kvmEngine } from '../../src/mock/guest/kvm/engine.js';
import { open, unusable } from '../guest-kvm/kernel.js';
import { readCases } from '../vectors/read.js';
import { differences, type GuestCpuidCase, runCpuidGuest } from './cpuid-td.js';

const files = readdirSync(new URL('../vectors/', import.meta.url)).flatMap((name) => {
  const version = /^guest_cpuid-(.*)\.jsonl\.gz$/.exec(name)?.[1];
  return version === undefined ? [] : [{ name, version, cases: readCases(name) as GuestCpuidCase[] }];
});

/** State of a case that an engine's processor cannot be given, and the case without it and without what it decides. */
interface Lack {
  what: string;
  rest: GuestCpuidCase;
}
type Lacks = (testCase: GuestCpuidCase) => Lack | undefined;

const without = (testCase: GuestCpuidCase, rows: RegExp): GuestCpuidCase => {
  const guest_cpuid = testCase.expect.guest_cpuid.filter((row) => !rows.test(row));
  return { ...testCase, expect: { ...testCase.expect, guest_cpuid } };
};

/** @returns what differs, and how many cases could only be had in part, by what was missing. */
async function runAll(engine: GuestEngine, version: string, cases: readonly GuestCpuidCase[], lacks: Lacks) {
  const wrong: string[] = [];
  const inPart = new Map<string, number>();
  const run = async (testCase: GuestCpuidCase): Promise<string[]> => {
    try {
      return differences(testCase, await runCpuidGuest(engine, version, testCase));
    } catch (error) {
      return [(error as Error).message];
    }
  };
  for (const testCase of cases) {
    let found = await run(testCase);
    const lack = found.length > 0 ? lacks(testCase) : undefined;
    if (lack) {
      inPart.set(lack.what, (inPart.get(lack.what) ?? 0) + 1);
      found = await run(lack.rest);
    }
    wrong.push(...found.map((text) => `case ${testCase.id}: ${text}`));
  }
  return { wrong, inPart };
}

it('there are vectors of every module version, with more than a hundred thousand registers', () => {
  expect(files.map(({ version }) => version)).toEqual(['1.5.01', '1.5.05', '1.5.06']);
  const rows = files
    .flatMap(({ cases }) => cases)
    .reduce((sum, { expect: { guest_cpuid: rows } }) => sum + rows.length, 0);
  expect(4 * rows).toBeGreaterThan(100_000);
});

describe('in the interpreter', () => {
  const engine = interpreterEngine();
  afterAll(() => engine.close());

  it.each(files)('$name', { timeout: 60_000 }, async ({ version, cases }) => {
    const { wrong, inPart } = await runAll(engine, version, cases, () => undefined);
    expect(wrong).toEqual([]);
    expect(inPart.size).toBe(0);
  });

  it('a case that expects another value is told apart, register by register', async () => {
    const { version, cases } = files[0]!;
    const changed = structuredClone(cases[0]!);
    const [first = '', ...rows] = changed.expect.guest_cpuid;
    changed.expect.guest_cpuid = [first.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')), ...rows];
    changed.expect.entry_gprs['r8'] = '0x1';
    const notes = await runCpuidGuest(engine, version, changed);
    expect(differences(changed, notes)).toEqual([
      'entry_gprs: expected r8 0x1, found r8 0xc0ffee',
      `guest_cpuid: expected ${changed.expect.guest_cpuid[0]}, found ${first}`,
    ]);
  });
});

const CR4_PKE = 0x40_0000;
const XFAM_PKRU = 0x200;

describe.skipIf(unusable !== undefined)(
  `on KVM${unusable === undefined ? '' : ` (skipped: ${unusable})`}`,
  async () => {
    if (unusable !== undefined) return;
    const system = open();
    const leaf = (wanted: number) =>
      system.getSupportedCpuid().find(({ function: number, index }) => number === wanted && index === 0);
    const states = BigInt(leaf(0xd)?.eax ?? 0);
    const pku = ((leaf(7)?.ecx ?? 0) & 8) !== 0;
    system.close();
    const engine = await kvmEngine(open);
    afterAll(() => engine.close());

    /** A plain VM has no more state than its processor, and its host's permissions. The interpreter has it all. */
    const lacks: Lacks = (testCase) => {
      const { xcr0, cr4, td_params: params } = testCase;
      const beyond = BigInt(xcr0 ?? 0) & ~states;
      if (beyond !== 0n) {
        const rest = without({ ...testCase, xcr0: `0x${(BigInt(xcr0!) & states).toString(16)}` }, /^d:[01]:/);
        return { what: `without XCR0 bits 0x${beyond.toString(16)} and the sizes of XSAVE`, rest };
      }
      const xfam = Buffer.from(params.padEnd(32, '0'), 'hex').readUInt32LE(8);
      if ((Number(cr4) & CR4_PKE) === 0 || (pku && (xfam & XFAM_PKRU) !== 0)) return undefined;
      const rest = without({ ...testCase, cr4: `0x${(Number(cr4) & ~CR4_PKE).toString(16)}` }, /^7:0:/);
      return { what: 'without CR4.PKE and the leaf that shows it', rest };
    };

    it.each(files)(
      '$name, but for state that this host lacks',
      { timeout: 60_000 },
      async ({ name, version, cases }) => {
        const { wrong, inPart } = await runAll(engine, version, cases, lacks);
        const whole = [...inPart.values()].reduce((left, count) => left - count, cases.length);
        const parts = [...inPart].map(([what, count]) => `${count} ${what}`);
        console.log(`${name} on KVM: ${[`${whole} of ${cases.length} cases whole`, ...parts].join(', ')}`);
        expect(wrong).toEqual([]);
        expect(whole).toBeGreaterThan(0);
      },
    );
  },
);
