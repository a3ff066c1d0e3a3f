import { CHUNK, MrtdHasher } from '../measure/hasher.js';

/** What running one vector gave. */
export type VectorOutcome = { ok: true } | { ok: false; difference: string } | { skip: string };

type PageContent = string | { fill: number } | { pattern: number };
type Op =
  | { op: 'add'; gpa: string | number; page: PageContent }
  | { op: 'extend'; gpa: string | number }
  | { op: 'extend_page'; gpa: string | number };

interface MrtdCase {
  pages?: { gpa: string | number; page: PageContent; measure: boolean }[];
  ops?: Op[];
  gpaw52?: boolean;
  /** TD_PARAMS, hexadecimal, trailing zero bytes may be trimmed. */
  td_params?: string;
  expect: { mrtd: string; errors?: { op: string; gpa: string | number }[] };
}

const PAGE = 4096;
const CONFIG_FLAGS_OFFSET = 32;

function contentOf(page: PageContent): Uint8Array {
  const bytes = new Uint8Array(PAGE);
  if (typeof page === 'string') {
    bytes.set(Buffer.from(page.replace(/^0x/, ''), 'hex').subarray(0, PAGE));
  } else if ('fill' in page) {
    bytes.fill(page.fill);
  } else {
    let x = page.pattern >>> 0;
    for (let i = 0; i < PAGE; i++) {
      x = (Math.imul(x, 1103515245) + 12345) >>> 0;
      bytes[i] = (x >>> 16) & 0xff;
    }
  }
  return bytes;
}

/** What the module keeps of a TD's private memory while it is built, as far as a measurement depends on it. */
class MeasuredTd {
  readonly hasher = new MrtdHasher();
  readonly #pages = new Map<bigint, Uint8Array>();

  /** @param sharedBit number of the shared bit, 47 or 51. */
  constructor(readonly sharedBit: number) {}

  // helpers.c check_gpa_validity: private, and nothing at or above the shared bit.
  #isPrivate(gpa: bigint): boolean {
    return gpa >> BigInt(this.sharedBit) === 0n;
  }

  /** TDH.MEM.PAGE.ADD: low bits would be a level or reserved; a page that is there cannot be added. */
  add(gpa: bigint, content: Uint8Array): boolean {
    if (gpa % BigInt(PAGE) !== 0n || !this.#isPrivate(gpa) || this.#pages.has(gpa)) return false;
    this.#pages.set(gpa, content);
    this.hasher.addPage(gpa);
    return true;
  }

  /** TDH.MR.EXTEND: 256-byte-aligned, private, in a page that was added. */
  extend(gpa: bigint): boolean {
    if (gpa % BigInt(CHUNK) !== 0n || !this.#isPrivate(gpa)) return false;
    const offset = Number(gpa % BigInt(PAGE));
    const content = this.#pages.get(gpa - BigInt(offset));
    if (!content) return false;
    this.hasher.extend(gpa, content.subarray(offset, offset + CHUNK));
    return true;
  }

  /** 16 chunks, up to the first that fails. */
  extendPage(gpa: bigint): boolean {
    for (let chunk = 0; chunk < PAGE; chunk += CHUNK) {
      if (!this.extend(gpa + BigInt(chunk))) return false;
    }
    return true;
  }
}

const OPS = ['add', 'extend', 'extend_page'];

const isGpaw52 = (testCase: MrtdCase): boolean => {
  const params = Buffer.from((testCase.td_params ?? '').replace(/^0x/, ''), 'hex');
  return testCase.gpaw52 === true || ((params[CONFIG_FLAGS_OFFSET] ?? 0) & 1) === 1;
};

const opsOf = (testCase: MrtdCase): Op[] =>
  testCase.ops ??
  (testCase.pages ?? []).flatMap(({ gpa, page, measure }): Op[] => {
    const add: Op = { op: 'add', gpa, page };
    return measure ? [add, { op: 'extend_page', gpa }] : [add];
  });

/**
 * Runs one case of an mrtd.jsonl file through the offline measurement: the MRTD, and which operations the module refuses
 * (their statuses are the module model's to give).
 */
// biome-ignore lint/suspicious/noExplicitAny: a line of a vector file
export const runMrtdOffline = (testCase: any): VectorOutcome => {
  const { expect } = testCase as MrtdCase;
  const ops = opsOf(testCase);
  const unknown = ops.find(({ op }) => !OPS.includes(op));
  if (unknown) return { skip: `operation ${unknown.op} is not known` };
  const td = new MeasuredTd(isGpaw52(testCase) ? 51 : 47);
  const refused: string[] = [];
  for (const op of ops) {
    const gpa = BigInt(op.gpa);
    const done =
      op.op === 'add' ? td.add(gpa, contentOf(op.page)) : op.op === 'extend' ? td.extend(gpa) : td.extendPage(gpa);
    if (!done) refused.push(`${op.op} 0x${gpa.toString(16)}`);
  }
  const wanted = (expect.errors ?? []).map(({ op, gpa }) => `${op} 0x${BigInt(gpa).toString(16)}`);
  if (refused.join() !== wanted.join()) {
    const list = (ops: string[]) => ops.join(', ') || 'none';
    return { ok: false, difference: `refused operations: got ${list(refused)}, expected ${list(wanted)}` };
  }
  const mrtd = td.hasher.finalize();
  return mrtd === expect.mrtd ? { ok: true } : { ok: false, difference: `mrtd: got ${mrtd}, expected ${expect.mrtd}` };
};
