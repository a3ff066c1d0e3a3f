import type { Call } from './call.js';
import { checkGpa, pageOf, septFailure, walkTo } from './gpa.js';
import { PAGE_4K } from './pamt.js';
import { refuse } from './refusal.js';
import { TDH } from './seamcall.js';
import { SEPT, septStateAllows } from './sept-state.js';

const ATTRIBUTES_DEBUG = 1n;

/** TDH.MEM.RD and TDH.MEM.WR: 8 bytes of a debuggable TD's memory. RCX: GPA, RDX: TDR, R8: data; R8 out: what was there. */
export function memRdWr(call: Call): void {
  Object.assign(call.out, { rcx: 0n, rdx: 0n, r8: 0n });
  const { pamt } = call.module;
  const td = call.td(call.rdx, 'RDX', false);
  call.checkState(td);
  if (!(td.configuration!.attributes & ATTRIBUTES_DEBUG)) throw refuse('module.mem-rd.debug');
  if (call.rcx % 8n !== 0n) throw refuse('module.mem-rd.alignment', 'RCX');
  const gpa = checkGpa(call, td, call.rcx);
  const walk = walkTo(td, gpa, 0);
  if (walk.entry?.state !== SEPT.MAPPED) throw septFailure(call, walk, 'module.mem-rd.present', 'RCX');
  if (!septStateAllows(call.leaf, walk.entry.state)) throw septFailure(call, walk, 'module.sept.state', 'RCX');

  const page = pageOf(walk, gpa);
  const content = pamt.content(page);
  const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset + (gpa % PAGE_4K), 8);
  if (content) call.out.r8 = view(content).getBigUint64(0, true);
  if (call.leaf === TDH.MEM_WR)
    view(content ?? pamt.fill(page, new Uint8Array(PAGE_4K))).setBigUint64(0, call.r8, true);
}
