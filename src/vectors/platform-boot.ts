import { loadRules } from '../cpuid/index.js';
import { decodeTdxStatus } from '../kvm/status.js';
import { type BootResult, bootModule, MODULE_STOPPED } from '../mock/module/boot.js';
import type { Platform } from '../mock/platform.js';

type ExpectedBoot = NonNullable<Platform['boot']>[string];

/** How the `boot` entries of platform profiles compare with what the model does. */
export interface BootComparison {
  passed: number;
  failed: number;
  /** The first differences. */
  differences: string[];
}

const number = (value: string | number | undefined): bigint => BigInt(value ?? 0);
const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** The first difference between a start of the model and what Intel's module did. */
function difference(found: BootResult, expected: ExpectedBoot): string | undefined {
  const differs = (what: string, wanted: unknown, got: unknown): string => `${what}: expected ${wanted}, found ${got}`;
  if (found.ok) return expected.ok ? undefined : differs('ok', `${expected.call} to fail`, 'a start');
  if (expected.ok)
    return differs('ok', 'a start', `${found.call}: ${decodeTdxStatus(found.status).text}, ${found.rule}`);
  if (found.call !== expected.call) return differs('call', expected.call, found.call);
  // A module that stops gives no status of its own.
  const wanted = expected.status === undefined || expected.status === null ? MODULE_STOPPED : BigInt(expected.status);
  if (found.status !== wanted) {
    return differs('status', `${hex(wanted)} ${expected.name ?? ''}`.trim(), decodeTdxStatus(found.status).text);
  }
  if (number(expected.rcx) !== (found.rcx ?? 0n))
    return differs('rcx', hex(number(expected.rcx)), hex(found.rcx ?? 0n));
  if (expected.msr !== undefined && number(expected.msr) !== number(found.msr)) {
    return differs('msr', expected.msr, found.msr === undefined ? 'none' : hex(BigInt(found.msr)));
  }
  return undefined;
}

/** Starts the model's modules on the platforms that say what Intel's do there; undefined where none says it. */
export function comparePlatformBoots(
  profiles: Readonly<Record<string, Platform>>,
  { differences: most = 5 } = {},
): BootComparison | undefined {
  const result: BootComparison = { passed: 0, failed: 0, differences: [] };
  const fail = (text: string): void => {
    result.failed += 1;
    if (result.differences.length < most) result.differences.push(text);
  };
  for (const [name, platform] of Object.entries(profiles)) {
    for (const [version, expected] of Object.entries(platform.boot ?? {})) {
      try {
        const text = difference(bootModule(loadRules(version), platform), expected);
        if (text === undefined) result.passed += 1;
        else fail(`${name} with ${version}: ${text}`);
      } catch (error) {
        fail(`${name} with ${version}: ${(error as Error).message}`);
      }
    }
  }
  return result.passed + result.failed === 0 ? undefined : result;
}
