import { GPRS } from '../kvm/gprs.js';
import { decodeTdxStatus } from '../kvm/status.js';
import { cpuid, type ProcessorState } from '../mock/module/cpuid.js';
import type { GuestCall, GuestException } from '../mock/module/guest-call.js';
import { TD_PARAMS_SIZE } from '../mock/module/mng-init.js';
import type { SeamcallResult } from '../mock/module/seamcall.js';
import type { Vcpu } from '../mock/module/td.js';
import { tdgVmWr } from '../mock/module/tdg-vm-wr.js';
import { EXTERNAL_INTERRUPT } from '../mock/module/tdh-vp-enter.js';
import { wrmsrXss } from '../mock/module/wrmsr.js';
import { xsetbv } from '../mock/module/xsetbv.js';
import { buildGuestTd, type GuestTd, hostCpuid } from './guest-td.js';
import type { CaseResult, VectorEnv } from './types.js';
import { openVectorModule, type VectorModule } from './vector-module.js';

interface Status {
  status: string;
  name: string;
}

/** One case of guest_cpuid-*.jsonl. */
interface GuestCpuidCase {
  profile: string;
  tdcx_pages: number;
  td_params: string;
  l2: number;
  xcr0?: string;
  xss?: string;
  x2apic_id?: number;
  td_ctls?: string;
  cr4: string;
  mode64: boolean;
  expect: Status & {
    kvm_get_cpuid?: string[];
    vp_init?: Status;
    mr_finalize?: Status;
    xsetbv?: string;
    wrmsr_xss?: string;
    tdg_vm_wr_td_ctls?: Status;
    entry_gprs?: Record<string, string>;
    guest_cpuid?: string[];
    tdexit?: Status & { exit_reason: number };
  };
}

/** What a case gives, by the names of `expect`. */
type Outcome = Record<string, unknown>;

/** TDCS.TD_CTLS. */
const TD_CTLS = 0x1110_0003_0000_0017n;
/** In the lower half of what TDH.VP.ENTER returns. */
const EXIT_REASON = 0xffffn;

const hex = (n: number, digits = 0): string => n.toString(16).padStart(digits, '0');
const registers = (values: readonly number[]): string => values.map((v) => hex(v, 8)).join(',');

const status = ({ status: value }: Pick<SeamcallResult, 'status'>): Status => ({
  status: `0x${value.toString(16).padStart(16, '0')}`,
  name: decodeTdxStatus(value).name,
});

const exception = (thrown: GuestException | undefined): string => (thrown ? `exc${thrown.vector}` : 'ok');

/** The guest's side of a case, in the order of test/vectors/README.md. */
function runGuest(call: GuestCall, { xcr0, xss, td_ctls, cr4, mode64, expect }: GuestCpuidCase): Outcome {
  const outcome: Outcome = {};
  outcome['entry_gprs'] = entryGprs(call.vcpu, Object.keys(expect.entry_gprs ?? {}));
  if (xcr0 !== undefined) outcome['xsetbv'] = exception(xsetbv(call, 0, BigInt(xcr0)));
  if (xss !== undefined) outcome['wrmsr_xss'] = exception(wrmsrXss(call, BigInt(xss)));
  if (td_ctls !== undefined) {
    const value = BigInt(td_ctls);
    outcome['tdg_vm_wr_td_ctls'] = status(tdgVmWr(call, { rdx: TD_CTLS, r8: value, r9: value }));
  }
  const processor: ProcessorState = { cr4: BigInt(cr4), longMode: mode64 };
  outcome['guest_cpuid'] = (expect.guest_cpuid ?? []).map((row) => {
    const [leaf = 0, subleaf = 0] = row.split(':').map((part) => Number.parseInt(part, 16));
    const answer = cpuid(call, processor, leaf, subleaf);
    return `${hex(leaf)}:${hex(subleaf)}:${'vector' in answer ? 've' : registers(answer)}`;
  });
  return outcome;
}

const entryGprs = ({ gprs }: Vcpu, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(
    names.map((name) => [name, `0x${(gprs[(GPRS as readonly string[]).indexOf(name)] ?? 0n).toString(16)}`]),
  );

function run(module: VectorModule, testCase: GuestCpuidCase): Outcome {
  const params = new Uint8Array(TD_PARAMS_SIZE);
  params.set(Buffer.from(testCase.td_params, 'hex'));
  const built: GuestTd = buildGuestTd(module, {
    params,
    tdcxPages: testCase.tdcx_pages,
    l2Vms: testCase.l2,
    x2apicId: testCase.x2apic_id,
  });
  const outcome: Outcome = { ...status(built.mngInit) };
  if (!built.vp) return outcome;
  outcome['kvm_get_cpuid'] = hostCpuid(built).map(({ leaf, subleaf, values }) => {
    return `${hex(leaf)}:${subleaf === null ? '-' : hex(subleaf)}:${registers(values)}`;
  });
  const { init, finalize, enter } = built.vp();
  outcome['vp_init'] = status(init);
  outcome['mr_finalize'] = status(finalize);
  const exit = enter((vcpu) => {
    Object.assign(outcome, runGuest({ module: module.boot, vcpu }, testCase));
    return EXTERNAL_INTERRUPT;
  });
  outcome['tdexit'] = { ...status(exit), exit_reason: Number(exit.status & EXIT_REASON) };
  return outcome;
}

/** The first field of `expect` that is not as expected. */
function firstDifference(expect: object, outcome: Outcome): string | undefined {
  for (const [name, wanted] of Object.entries(expect)) {
    const found = outcome[name];
    if (JSON.stringify(found) === JSON.stringify(wanted)) continue;
    if (!Array.isArray(wanted) || !Array.isArray(found)) {
      return `${name}: expected ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`;
    }
    const at = wanted.findIndex((row, i) => row !== found[i]);
    const where = at < 0 ? wanted.length : at;
    return `${name}[${where}]: expected ${wanted[where] ?? 'the end'}, found ${found[where] ?? 'the end'}`;
  }
  return undefined;
}

/** One case of guest_cpuid-*.jsonl: a TD with one VCPU, its CPUID as the host reads it and as its guest executes it. */
// biome-ignore lint/suspicious/noExplicitAny: a line of a vector file, whatever it holds
export const runGuestCpuid = (testCase: any, env: VectorEnv): CaseResult => {
  const module = openVectorModule(env.platform(testCase.profile), env.moduleVersion);
  if (typeof module === 'string') return { ok: false, difference: module };
  const difference = firstDifference(testCase.expect, run(module, testCase));
  return difference === undefined ? { ok: true } : { ok: false, difference };
};
