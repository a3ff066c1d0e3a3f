import { decodeTdxStatus } from '../kvm/status.js';
import { TDH } from '../mock/module/seamcall.js';
import { type TdParamsFields, vectorTdParams } from './td-params.js';
import type { CaseResult, VectorEnv } from './types.js';
import { openVectorModule, type VectorModule } from './vector-module.js';

/** A number; decimal text where `parseVectorLine` found it too large for one. */
type Integer = number | string;

type Argument =
  | Integer
  | { page: number; off?: number }
  | { hkid: number }
  | { gpa: Integer; level: number }
  | { params: number }
  | { src: number };

interface Step {
  call: string;
  version?: number;
  rcx?: Argument;
  rdx?: Argument;
  r8?: Argument;
  r9?: Argument;
  td_entered?: boolean;
  status: string;
  name: string;
}

const PLATFORM = 'spr';
const PAGES = 0x1_0010_0000n;
const FIRST_HKID = 33n;
const PARAMS = 0x100_2000n;
const PARAMS_SIZE = 0x400n;
const SOURCE = 0x101_0000n;

/** The TD_PARAMS that steps name by number: what differs from number 0. */
const TD_PARAMS: readonly TdParamsFields[] = [
  {},
  { attributes: 2 },
  { attributes: 1, maxVcpus: 2 },
  { flags: 8, maxPa: 46 },
  { flags: 9, eptp: 0x26, maxPa: 50 },
  { flags: 8, maxPa: 44 },
];

function value(argument: Argument | undefined): bigint {
  if (argument === undefined || argument === null) return 0n;
  if (typeof argument === 'number' && !Number.isSafeInteger(argument))
    throw new RangeError(`${argument} was rounded by JSON.parse: parse the line with parseVectorLine`);
  if (typeof argument !== 'object') return BigInt(argument);
  if ('page' in argument) return PAGES + 4096n * BigInt(argument.page) + BigInt(argument.off ?? 0);
  if ('hkid' in argument) return FIRST_HKID + BigInt(argument.hkid);
  if ('gpa' in argument) return BigInt(argument.gpa) | BigInt(argument.level);
  if ('params' in argument) return PARAMS + PARAMS_SIZE * BigInt(argument.params);
  return SOURCE + 4096n * BigInt(argument.src);
}

const leafOf = (call: string): number | undefined =>
  (TDH as Readonly<Record<string, number>>)[call.replace('TDH.', '').replaceAll('.', '_')];

const text = (status: bigint): string => decodeTdxStatus(status).text;

function run(module: VectorModule, steps: readonly Step[]): string | undefined {
  for (const [i, params] of TD_PARAMS.entries()) module.write(PARAMS + PARAMS_SIZE * BigInt(i), vectorTdParams(params));
  for (const [i, step] of steps.entries()) {
    const leaf = leafOf(step.call);
    if (leaf === undefined) return `step ${i}: ${step.call} is not a leaf that this model knows`;
    const entries = module.entries;
    const { status, rule } = module.call(leaf, {
      version: step.version ?? 0,
      rcx: value(step.rcx),
      rdx: value(step.rdx),
      r8: value(step.r8),
      r9: value(step.r9),
    });
    const entered = module.entries > entries;
    if (status !== BigInt(step.status))
      return `step ${i}: ${step.call} gave ${text(status)}, expected ${text(BigInt(step.status))}${rule ? `; rule ${rule}` : ''}`;
    if (entered !== (step.td_entered === true))
      return `step ${i}: ${step.call} ${entered ? 'entered' : 'did not enter'} the TD`;
  }
  return undefined;
}

/** One case of lifecycle-*.jsonl: a sequence of SEAMCALLs on a fresh module, and the status of each. */
// biome-ignore lint/suspicious/noExplicitAny: a line of a vector file, whatever it holds
export const runLifecycle = (testCase: any, env: VectorEnv): CaseResult => {
  const module = openVectorModule(env.platform(testCase.profile ?? PLATFORM), env.moduleVersion);
  if (typeof module === 'string') return { ok: false, difference: module };
  const difference = run(module, testCase.steps);
  return difference === undefined ? { ok: true } : { ok: false, difference };
};
