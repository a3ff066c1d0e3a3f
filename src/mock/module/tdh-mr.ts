import type { Call } from './call.js';
import { checkGpa, pageOf, septFailure, walkTo } from './gpa.js';
import { OP_STATE } from './op-state.js';
import { PAGE_4K } from './pamt.js';
import { refuse } from './refusal.js';
import { SEPT } from './sept-state.js';

const CHUNK = 256;
const CHUNK_MASK = BigInt(CHUNK - 1);

/** TDH.MR.EXTEND: measures 256 bytes of a page that was added. RCX: GPA, RDX: TDR. */
export function mrExtend(call: Call): void {
  call.out.rcx = 0n;
  call.out.rdx = 0n;
  const td = call.td(call.rdx, 'RDX', true);
  call.checkState(td);
  if (call.rcx & CHUNK_MASK) throw refuse('module.mr-extend.alignment', 'RCX');
  const gpa = checkGpa(call, td, call.rcx);
  const walk = walkTo(td, gpa, 0);
  if (walk.entry?.state !== SEPT.MAPPED) throw septFailure(call, walk, 'module.mr-extend.present', 'RCX');
  const offset = gpa % PAGE_4K;
  const content = call.module.pamt.content(pageOf(walk, gpa));
  td.measurement!.extend(gpa, content ? content.subarray(offset, offset + CHUNK) : ZEROS);
}

const ZEROS = new Uint8Array(CHUNK);

/** TDH.MR.FINALIZE: MRTD is fixed, the TD can run. RCX: TDR. */
export function mrFinalize(call: Call): void {
  const td = call.td(call.rcx, 'RCX', true);
  call.checkState(td);
  if (td.numVcpus === 0) throw refuse('module.mr-finalize.vcpus');
  td.mrtd = td.measurement!.finalize();
  delete td.measurement;
  td.opState = OP_STATE.RUNNABLE;
}
