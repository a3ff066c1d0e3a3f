import { readdirSync, readFileSync } from 'node:fs';
import type { Platform } from './platform.js';

const FOLDER = new URL('../../profiles/platforms/', import.meta.url);
const loaded = new Map<string, Platform>();

/** Names of the bundled platforms. */
export function bundledPlatforms(): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length))
    .sort();
}

/** A bundled platform such as `spr`. Throws RangeError naming those that there are. */
export function loadPlatform(name: string): Platform {
  let platform = loaded.get(name);
  if (!platform) {
    const known = bundledPlatforms();
    if (!known.includes(name)) throw new RangeError(`No platform '${name}'; there are ${known.join(', ')}`);
    platform = parsePlatform(JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')));
    loaded.set(name, platform);
  }
  return platform;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An unsigned number of at most `bits` bits, as a JSON number or a string such as `0x806f8`. */
function isNumber(value: unknown, bits: number): boolean {
  if (typeof value === 'number') return Number.isInteger(value) && value >= 0 && value < 2 ** bits;
  return typeof value === 'string' && /^(0x[0-9a-f]+|\d+)$/i.test(value) && BigInt(value) >> BigInt(bits) === 0n;
}

/**
 * Checks that `json` is a platform (one profile of platform.json) and returns it as such. Throws TypeError naming the
 * path of the first thing that is not as it should be, what was expected there and what was found.
 */
export function parsePlatform(json: unknown): Platform {
  const demand = (holds: boolean, path: string, expected: string, found: unknown): void => {
    if (!holds)
      throw new TypeError(`platform ${path}: expected ${expected}, found ${JSON.stringify(found) ?? 'nothing'}`);
  };
  if (!isObject(json)) throw new TypeError('platform: expected an object with name, cpuid, msr and sys');
  const { name, cpuid, msr, sys } = json;
  demand(typeof name === 'string', 'name', 'a string', name);
  demand(Array.isArray(cpuid), 'cpuid', 'a list of rows', typeof cpuid);
  (cpuid as unknown[]).forEach((row, i) => {
    demand(isObject(row), `cpuid[${i}]`, 'an object', row);
    const fields = row as Record<string, unknown>;
    for (const field of ['leaf', 'eax', 'ebx', 'ecx', 'edx', 'subleaf']) {
      const value = fields[field];
      if (field === 'subleaf' && value === null) continue;
      demand(isNumber(value, 32), `cpuid[${i}].${field}`, 'a number of 32 bits', value);
    }
  });
  demand(isObject(msr), 'msr', 'an object from MSR index to value', typeof msr);
  for (const [index, value] of Object.entries(msr as object)) {
    demand(isNumber(index, 32), `msr.${index}`, 'an MSR index such as 0x10a', index);
    demand(isNumber(value, 64), `msr.${index}`, 'a number of 64 bits', value);
  }
  demand(isObject(sys), 'sys', 'an object', typeof sys);
  const { socket_fms, cmr, tdmr_base, tdmr_size, pamt_base, global_hkid } = sys as Record<string, unknown>;
  demand(
    Array.isArray(socket_fms) && socket_fms.every((v) => isNumber(v, 32)),
    'sys.socket_fms',
    'CPUID(1).EAX of each package',
    socket_fms,
  );
  const isRange = (v: unknown): boolean => Array.isArray(v) && v.length === 2 && v.every((n) => isNumber(n, 64));
  demand(Array.isArray(cmr) && cmr.every(isRange), 'sys.cmr', 'a list of [base, size]', cmr);
  for (const [field, value] of Object.entries({ tdmr_base, tdmr_size, pamt_base })) {
    demand(isNumber(value, 64), `sys.${field}`, 'a number of 64 bits', value);
  }
  demand(isNumber(global_hkid, 16), 'sys.global_hkid', 'a KeyID', global_hkid);
  return json as unknown as Platform;
}
