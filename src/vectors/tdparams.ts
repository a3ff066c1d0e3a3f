import { createHash } from 'node:crypto';
import { loadRules } from '../cpuid/index.js';
import { decodeTdxStatus } from '../kvm/status.js';
import { bootModule, type ModuleBoot } from '../mock/module/boot.js';
import { initTd, TD_PARAMS_SIZE, type TdConfiguration } from '../mock/module/mng-init.js';
import type { Platform } from '../mock/platform.js';
import type { CaseResult, VectorEnv } from './types.js';

/** What a case of tdparams-*.jsonl expects of TDH.MNG.INIT. */
interface Expected {
  status: string;
  operand?: string;
  operand_id?: number;
  msr?: string;
  rcx?: string;
  digest?: string;
  digest16?: string;
  tdcs?: Record<string, unknown>;
}

const booted = new Map<string, WeakMap<Platform, ModuleBoot | string>>();

/** The module started on a platform, once for all cases; the reason as text where it does not start. */
function bootOnce(version: string, platform: Platform): ModuleBoot | string {
  const ofVersion = booted.get(version) ?? new WeakMap<Platform, ModuleBoot | string>();
  booted.set(version, ofVersion);
  let result = ofVersion.get(platform);
  if (result === undefined) {
    const boot = bootModule(loadRules(version), platform);
    result = boot.ok
      ? boot.module
      : `${boot.call} refuses platform ${platform.name}: ${decodeTdxStatus(boot.status).text}`;
    ofVersion.set(platform, result);
  }
  return result;
}

const hex = (n: number, digits = 0): string => n.toString(16).padStart(digits, '0');

/** CPUID rows in the notation of the vectors: `leaf:subleaf:valid:eax,ebx,ecx,edx`. */
export const cpuidRows = (td: TdConfiguration): string[] =>
  td.cpuid.map(({ leaf, subleaf, valid, eax, ebx, ecx, edx }) => {
    const values = [eax, ebx, ecx, edx].map((v) => hex(v, 8)).join(',');
    return `${hex(leaf)}:${subleaf === null ? '-' : hex(subleaf)}:${valid ? 1 : 0}:${values}`;
  });

/** Fields of `tdcs` in the vectors by name, as numbers, lists or hexadecimal text. */
const tdcsField = (td: TdConfiguration): Record<string, unknown> => ({
  attributes: td.attributes,
  xfam: td.xfam,
  max_vcpus: td.maxVcpus,
  num_l2_vms: td.numL2Vms,
  gpaw: td.gpaw,
  eptp_controls: td.eptpControls,
  config_flags: td.configFlags,
  td_ctls: td.tdCtls,
  tsc_frequency: td.tscFrequency,
  tsc_multiplier: td.tscMultiplier,
  hp_lock_timeout: td.hpLockTimeout,
  xbuff_size: td.xbuffSize,
  ia32_arch_capabilities: td.ia32ArchCapabilities,
  ia32_spec_ctrl_mask: td.ia32SpecCtrlMask,
  op_state: 1,
  cpuid_flags: td.cpuidFlags,
  mrconfigid: Buffer.from(td.mrConfigId).toString('hex'),
  mrowner: Buffer.from(td.mrOwner).toString('hex'),
  mrownerconfig: Buffer.from(td.mrOwnerConfig).toString('hex'),
});

/** Runs one case of a tdparams file: status, RCX, operand, every field of `tdcs` that it has, all CPUID rows and the digest. */
export const runTdParams = (
  testCase: { profile: string; tdcx_pages: number; td_params: string; expect: Expected },
  env: VectorEnv,
): CaseResult => {
  const module = bootOnce(env.moduleVersion, env.platform(testCase.profile));
  if (typeof module === 'string') return { ok: false, difference: module };
  const params = new Uint8Array(TD_PARAMS_SIZE);
  params.set(Buffer.from(testCase.td_params, 'hex'));
  const difference = compare(initTd(module, params, testCase.tdcx_pages), testCase.expect);
  return difference === undefined ? { ok: true } : { ok: false, difference };
};

function compare(result: ReturnType<typeof initTd>, expect: Expected): string | undefined {
  const { status, rcx, rule, td } = result;
  const differs = (what: string, found: unknown, wanted: unknown): string =>
    `${what}: expected ${wanted}, found ${found}${rule === undefined ? '' : ` (${rule})`}`;
  if (status !== BigInt(expect.status)) {
    return differs('status', decodeTdxStatus(status).text, decodeTdxStatus(BigInt(expect.status)).text);
  }
  if (rcx !== BigInt(expect.rcx ?? 0)) return differs('rcx', `0x${rcx.toString(16)}`, expect.rcx ?? 0);
  const low = Number(status & 0xffff_ffffn);
  if (expect.operand_id !== undefined && low !== expect.operand_id) return differs('operand', low, expect.operand_id);
  const operand = decodeTdxStatus(status).operand;
  if (expect.operand !== undefined && `OPERAND_ID_${operand}` !== expect.operand) {
    return differs('operand', operand, expect.operand);
  }
  if (expect.msr !== undefined && low !== Number(expect.msr)) return differs('msr', `0x${hex(low)}`, expect.msr);
  if (!td) return expect.tdcs === undefined ? undefined : differs('tdcs', 'none', 'a TD');
  return compareTd(td, expect, differs);
}

function compareTd(
  td: TdConfiguration,
  expect: Expected,
  differs: (what: string, found: unknown, wanted: unknown) => string,
): string | undefined {
  const fields = tdcsField(td);
  const rows = cpuidRows(td);
  for (const [name, wanted] of Object.entries(expect.tdcs ?? {})) {
    if (name === 'cpuid') {
      const wantedRows = wanted as string[];
      const i = wantedRows.findIndex((row, n) => row !== rows[n]);
      if (i >= 0 || wantedRows.length !== rows.length) return differs('cpuid', rows[i], wantedRows[i]);
      continue;
    }
    if (!(name in fields)) return differs(`tdcs.${name}`, 'no such field', wanted);
    const found = fields[name];
    const same = Array.isArray(found)
      ? JSON.stringify(found) === JSON.stringify(wanted)
      : typeof found === 'string'
        ? found === wanted
        : BigInt(found as bigint | number) === BigInt(wanted as string | number);
    if (!same) return differs(`tdcs.${name}`, found, wanted);
  }
  const digest = createHash('sha256').update(rows.join('\n')).digest('hex');
  if (expect.digest !== undefined && digest !== expect.digest) return differs('digest', digest, expect.digest);
  if (expect.digest16 !== undefined && digest.slice(0, 16) !== expect.digest16) {
    return differs('digest16', digest.slice(0, 16), expect.digest16);
  }
  return undefined;
}
