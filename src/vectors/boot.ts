import { bundledVersions, loadRules } from '../cpuid/index.js';
import { decodeTdxStatus } from '../kvm/status.js';
import { type BootFailure, bootModule, MODULE_STOPPED } from '../mock/module/boot.js';
import type { Platform } from '../mock/platform.js';

/** `boot.<version>` of a platform: what Intel's module answers when the host starts it there. */
export type ExpectedBoot = NonNullable<Platform['boot']>[string];

const isNumber = (text: unknown): text is string => typeof text === 'string' && /^0x[0-9a-f]+$/i.test(text);
const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** What differs between how module `version` starts on `platform` and `expected`; undefined: nothing. */
export function runBoot(platform: Platform, version: string, expected: ExpectedBoot): string | undefined {
  if (!bundledVersions().includes(version)) return `no rules for TDX module ${version}`;
  const boot = bootModule(loadRules(version), platform);
  if (boot.ok !== expected.ok) {
    const wanted = expected.ok ? 'a start' : JSON.stringify(expected);
    return `expected ${wanted}, found ${boot.ok ? 'a start' : describe(boot)}`;
  }
  return boot.ok ? undefined : compare(boot, expected);
}

const describe = ({ call, status, rule }: BootFailure): string =>
  `${call}: ${status === MODULE_STOPPED ? 'the module stops' : decodeTdxStatus(status).text} (${rule})`;

function compare(boot: BootFailure, expected: ExpectedBoot): string | undefined {
  const differs = (what: string, found: unknown, wanted: unknown): string =>
    `${what}: expected ${wanted}, found ${found} in ${describe(boot)}`;
  const { call, status, rcx = 0n } = boot;
  if (expected.call !== undefined && call !== expected.call) return differs('call', call, expected.call);
  // A module that stopped gives no status; a file can only say so in words.
  if (status === MODULE_STOPPED && !isNumber(expected.status)) return undefined;
  if (isNumber(expected.status) ? BigInt(expected.status) !== status : expected.status !== undefined) {
    return differs('status', hex(status), expected.status);
  }
  const name = expected.name?.split('/')[0];
  if (name !== undefined && decodeTdxStatus(status).name !== name) {
    return differs('name', decodeTdxStatus(status).name, name);
  }
  // TDH.SYS.CONFIG leaves in RCX what the host passed; the other two calls clear it first.
  if (call !== 'TDH.SYS.CONFIG' && rcx !== BigInt(expected.rcx ?? 0))
    return differs('rcx', hex(rcx), expected.rcx ?? 0);
  if (expected.msr !== undefined && boot.msr !== Number(expected.msr)) {
    return differs('msr', boot.msr === undefined ? 'none' : hex(boot.msr), expected.msr);
  }
  return undefined;
}
