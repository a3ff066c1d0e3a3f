import { loadRules } from '../../src/cpuid/index.js';
import { bootModule } from '../../src/mock/module/boot.js';
import type { GuestCall } from '../../src/mock/module/guest-call.js';
import { initTd } from '../../src/mock/module/mng-init.js';
import { Td, Vcpu } from '../../src/mock/module/td.js';
import { loadPlatform } from '../../src/mock/platforms.js';

export const AVX512 = 0xe0n;
export const AMX = 0x60000n;
export const CET = 0x1800n;

/** CPUID_CONFIG values: leaf, sub-leaf, register (0: EAX), value. */
export type CpuidWish = readonly [leaf: number, subleaf: number | null, register: 0 | 1 | 2 | 3, value: number];

interface GuestOptions {
  version?: string;
  platform?: string;
  xfam?: bigint;
  configFlags?: number;
  cpuid?: readonly CpuidWish[];
}

/** The only VCPU of a TD with all XFAM bits of AVX-512, AMX and CET, or of `xfam`. */
export function guest({
  version = '1.5.06',
  platform = 'spr',
  xfam = 0x7n | AVX512 | AMX | CET,
  configFlags = 0,
  cpuid = [],
}: GuestOptions = {}): GuestCall {
  const rules = loadRules(version);
  const boot = bootModule(rules, loadPlatform(platform));
  if (!boot.ok) throw new Error(boot.rule);
  const params = new Uint8Array(1024);
  const view = new DataView(params.buffer);
  view.setBigUint64(8, xfam, true);
  view.setUint16(16, 1, true);
  view.setUint8(24, 0x1e);
  view.setUint8(32, configFlags);
  view.setUint16(40, 40, true);
  for (const [leaf, subleaf, register, value] of cpuid) {
    const { config } = rules.entries[rules.find(leaf, subleaf)!]!;
    view.setUint32(rules.document.tdParams.cpuidConfig + config * 16 + register * 4, value, true);
  }
  const { td: configuration, rule } = initTd(boot.module, params, 6);
  if (!configuration) throw new Error(rule);
  const td = new Td(0x1000, 33, new BigUint64Array(4));
  td.configuration = configuration;
  return { module: boot.module, vcpu: new Vcpu(td, 0x2000) };
}
