import { expect, test } from 'vitest';
import type { CpuidEntry } from '../../src/kvm/cpuid.js';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { RULES, type Rule } from '../../src/rulebook/index.js';
import { checkInitVm, type InitVmRequest, type Violation } from '../../src/td/check/index.js';
import { readCases } from '../vectors/read.js';
import { vectorHost } from './hosts.js';

// What Linux 6.16.1 over module 1.5.05 answers to KVM_TDX_INIT_VM, held against what the validator says beforehand.

const HEADER = 264;
const ENTRY = 40;

// biome-ignore lint/suspicious/noExplicitAny: a case of a vectors file
type Case = any;

/** The request of a case, or undefined where it is wrong in bytes that a request of this library cannot have. */
function requestOf(vector: Case): InitVmRequest | undefined {
  if (['inject', 'reserved', 'order'].includes(vector.class) || vector.host) return undefined;
  if (vector.flags || vector.hw_error_in || 'cmd_len' in vector || 'buf_len' in vector) return undefined;
  const bytes = Buffer.alloc(HEADER + ENTRY * 257);
  Buffer.from(vector.init, 'hex').copy(bytes);
  const reserved = bytes.subarray(160, 256);
  if (bytes.readUInt32LE(260) !== 0 || reserved.some((byte) => byte !== 0)) return undefined;
  let tscKhz = 0;
  for (const step of vector.pre ?? []) {
    if (step.op !== 'set_tsc_khz') return undefined;
    const done = vector.pre_expect[vector.pre.indexOf(step)];
    if (done.ret === 0) tscKhz = Number(BigInt.asUintN(32, BigInt(step.khz)));
  }
  const nent = Math.min(bytes.readUInt32LE(256), 257);
  const cpuid = Array.from({ length: nent }, (_, position): CpuidEntry => {
    const u32 = (field: number) => bytes.readUInt32LE(HEADER + ENTRY * position + 4 * field);
    return { function: u32(0), index: u32(1), flags: u32(2), eax: u32(3), ebx: u32(4), ecx: u32(5), edx: u32(6) };
  });
  return { attributes: bytes.readBigUInt64LE(0), xfam: bytes.readBigUInt64LE(8) | 3n, cpuid, tscKhz };
}

const cases: { vector: Case; request: InitVmRequest; said: Violation[] }[] = readCases('ioctl/initvm.jsonl.gz').flatMap(
  (vector) => {
    const request = requestOf(vector);
    return request ? [{ vector, request, said: checkInitVm(request, vectorHost(vector.profile)) }] : [];
  },
);

const ids = (some: typeof cases) => some.map(({ vector, said }) => `${vector.id}: ${said.map(({ rule }) => rule)}`);
const refused = cases.filter(({ vector }) => vector.expect.ret !== 0);
const accepted = cases.filter(({ vector }) => vector.expect.ret === 0);

test('the vectors hold many requests, refused and accepted', () => {
  expect(refused.length).toBeGreaterThan(1000);
  expect(accepted.length).toBeGreaterThan(500);
});

test('a refused request has an error, or the warning about a stepping that only other packages could explain', () => {
  const missed = refused.filter(
    ({ said }) => !said.some(({ severity, rule }) => severity === 'error' || rule === 'module.mng-init.fms'),
  );
  expect(ids(missed)).toEqual([]);
});

test('an accepted request has no error, but where the TD is not what was asked for', () => {
  // Bits outside the mask that the module knows stay 0 silently; a TSC frequency wraps silently.
  const silent = ['module.mng-init.cpuid-config', 'trap.tsc-wraps'];
  const wrong = accepted.filter(({ said }) =>
    said.some(({ severity, rule }) => severity === 'error' && !silent.includes(rule)),
  );
  expect(ids(wrong)).toEqual([]);
});

test('a status of the module is explained by a rule about the operand that it names', () => {
  const withOperand = refused.filter(({ vector }) => BigInt(vector.expect.hw_error) !== 0n);
  expect(withOperand.length).toBeGreaterThan(500);
  const unexplained = withOperand.filter(({ vector, said }) => {
    const { operand } = decodeTdxStatus(BigInt(vector.expect.hw_error));
    return !said.some(({ rule }) => (RULES[rule] as Rule).operand === operand);
  });
  expect(ids(unexplained)).toEqual([]);
});

test("an errno without a status is explained by one of KVM's checks, EIO by a status that KVM keeps to itself", () => {
  const without = refused.filter(({ vector }) => BigInt(vector.expect.hw_error) === 0n);
  expect(without.length).toBeGreaterThan(500);
  const unexplained = without.filter(({ vector, said }) => {
    const { errno } = vector.expect;
    const fits = (rule: Rule) =>
      errno === 'EIO' ? rule.status !== undefined && rule.status !== 'TDX_OPERAND_INVALID' : rule.errno === errno;
    return !said.some(({ rule }) => fits(RULES[rule]) || rule === 'trap.junk-leaves');
  });
  expect(ids(unexplained)).toEqual([]);
});
