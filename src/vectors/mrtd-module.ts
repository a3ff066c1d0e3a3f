import { decodeTdxStatus } from '../kvm/status.js';
import { TDH } from '../mock/module/seamcall.js';
import { vectorTdParams } from './td-params.js';
import type { CaseResult, VectorEnv } from './types.js';
import { openVectorModule, type VectorModule } from './vector-module.js';

type PageContent = string | { fill: number } | { pattern: number };
type Op = { op: 'add'; gpa: string; page: PageContent } | { op: 'extend' | 'extend_page'; gpa: string };

interface MrtdCase {
  profile?: string;
  pages?: { gpa: string; page: PageContent; measure: boolean }[];
  ops?: Op[];
  gpaw52?: boolean;
  td_params?: string;
  expect: { mrtd: string; op_state: number; errors?: { op: string; gpa: string; status: string }[] };
}

const PLATFORM = 'spr';
const PAGE = 4096n;
const CHUNK = 256n;
const TD_PARAMS = 0x100_2000n;
const SOURCE = 0x101_0000n;
const HKID = 33n;
const FIELD_OP_STATE = 0x9010_0002_0000_0004n;
const FIELD_MRTD = 0x1310_0003_0000_0000n;

function bytesOf(content: PageContent): Uint8Array {
  const page = new Uint8Array(Number(PAGE));
  if (typeof content === 'string') page.set(Buffer.from(content.replace(/^0x/, ''), 'hex'));
  else if ('fill' in content) page.fill(content.fill);
  else {
    let x = content.pattern;
    for (let i = 0; i < page.length; i++) {
      x = (Math.imul(x, 1103515245) + 12345) >>> 0;
      page[i] = x >>> 16;
    }
  }
  return page;
}

/** Builds one TD with SEAMCALLs, taking free pages of the TDMR in turn. */
class Builder {
  readonly errors: { op: string; gpa: string; status: bigint }[] = [];
  #next = 0x1_0010_0000n;
  readonly #tdr: bigint;
  readonly #tables = new Set<string>();

  constructor(
    readonly module: VectorModule,
    readonly levels: number,
    params: Uint8Array,
  ) {
    module.write(TD_PARAMS, params);
    this.#tdr = this.#page();
    this.#must(TDH.MNG_CREATE, this.#tdr, HKID);
    this.#must(TDH.MNG_KEY_CONFIG, this.#tdr);
    for (let i = 0; i < 6; i++) this.#must(TDH.MNG_ADDCX, this.#page(), this.#tdr);
    this.#must(TDH.MNG_INIT, this.#tdr, TD_PARAMS);
    const tdvpr = this.#page();
    this.#must(TDH.VP_CREATE, tdvpr, this.#tdr);
    for (let i = 0; i < 5; i++) this.#must(TDH.VP_ADDCX, this.#page(), tdvpr);
    this.#must(TDH.VP_INIT, tdvpr);
  }

  #page(): bigint {
    this.#next += PAGE;
    return this.#next;
  }

  #must(leaf: number, rcx: bigint, rdx = 0n): void {
    const { status } = this.module.call(leaf, { rcx, rdx });
    if (status !== 0n) throw new Error(`leaf ${leaf} gave ${decodeTdxStatus(status).text}`);
  }

  #addTables(gpa: bigint): void {
    for (let level = this.levels - 1; level > 0; level--) {
      const base = (gpa >> BigInt(12 + 9 * level)) << BigInt(12 + 9 * level);
      const key = `${base}/${level}`;
      if (this.#tables.has(key)) continue;
      // Refused for a GPA that is not private; the page to add is then refused as well, which is what the case is about.
      const { status } = this.module.call(TDH.MEM_SEPT_ADD, {
        rcx: base | BigInt(level),
        rdx: this.#tdr,
        r8: this.#page(),
      });
      if (status === 0n) this.#tables.add(key);
    }
  }

  #status(op: Op): bigint {
    const gpa = BigInt(op.gpa);
    if (op.op === 'add') {
      this.#addTables(gpa);
      this.module.write(SOURCE, bytesOf(op.page));
      return this.module.call(TDH.MEM_PAGE_ADD, { rcx: gpa, rdx: this.#tdr, r8: this.#page(), r9: SOURCE }).status;
    }
    const end = op.op === 'extend' ? CHUNK : PAGE;
    for (let offset = 0n; offset < end; offset += CHUNK) {
      const { status } = this.module.call(TDH.MR_EXTEND, { rcx: gpa + offset, rdx: this.#tdr });
      if (status !== 0n) return status;
    }
    return 0n;
  }

  run(op: Op): void {
    const status = this.#status(op);
    if (status !== 0n) this.errors.push({ op: op.op, gpa: op.gpa, status });
  }

  #read(field: bigint): bigint {
    return this.module.call(TDH.MNG_RD, { rcx: this.#tdr, rdx: field }).r8;
  }

  finalize(): { mrtd: string; opState: number } {
    this.#must(TDH.MR_FINALIZE, this.#tdr);
    const mrtd = Buffer.alloc(48);
    for (let i = 0; i < 6; i++) mrtd.writeBigUInt64LE(this.#read(FIELD_MRTD + BigInt(i)), i * 8);
    return { mrtd: mrtd.toString('hex'), opState: Number(this.#read(FIELD_OP_STATE)) };
  }
}

function opsOf({ pages = [], ops }: MrtdCase): Op[] {
  if (ops) return ops;
  return pages.flatMap(({ gpa, page, measure }): Op[] => [
    { op: 'add', gpa, page },
    ...(measure ? [{ op: 'extend_page', gpa } as const] : []),
  ]);
}

function paramsOf({ td_params, gpaw52 }: MrtdCase): Uint8Array {
  if (td_params === undefined) return vectorTdParams(gpaw52 ? { flags: 1, eptp: 0x26 } : {});
  const params = new Uint8Array(1024);
  params.set(Buffer.from(td_params.replace(/^0x/, ''), 'hex'));
  return params;
}

/** One case of mrtd.jsonl on the model of the module: a TD is built with SEAMCALLs, and MRTD, OP_STATE and refusals compared. */
// biome-ignore lint/suspicious/noExplicitAny: a line of a vector file, whatever it holds
export const runMrtdOnModule = (testCase: any, env: VectorEnv): CaseResult => {
  const input = testCase as MrtdCase;
  const module = openVectorModule(env.platform(input.profile ?? PLATFORM), env.moduleVersion);
  if (typeof module === 'string') return { ok: false, difference: module };
  const params = paramsOf(input);
  // EPTP_CONTROLS bits 5:3 are the number of levels less 1.
  const builder = new Builder(module, ((params[24]! >> 3) & 7) + 1, params);
  for (const op of opsOf(input)) builder.run(op);

  const { mrtd, opState } = builder.finalize();
  const failed = (errors: readonly { op: string; gpa: string; status: bigint | string }[]) =>
    errors.map((e) => `${e.op} ${e.gpa}: ${decodeTdxStatus(BigInt(e.status)).text}`).join('; ') || 'none';
  const pairs: [what: string, is: string | number, expected: string | number][] = [
    ['refusals', failed(builder.errors), failed(input.expect.errors ?? [])],
    ['op_state', opState, input.expect.op_state],
    ['mrtd', mrtd, input.expect.mrtd],
  ];
  for (const [what, is, expected] of pairs)
    if (is !== expected) return { ok: false, difference: `${what}: ${is}, expected ${expected}` };
  return { ok: true };
};
