import type { Call } from './call.js';
import { checkGpa, pageOf, septFailure, walkTo } from './gpa.js';
import type { GuestTd } from './guest-td.js';
import { PAGE_4K, type Pamt } from './pamt.js';
import { refuse } from './refusal.js';
import { TDH } from './seamcall.js';
import { SEPT, septStateAllows } from './sept-state.js';

const ATTRIBUTES_DEBUG = 1n;

/** TDH.MEM.RD and TDH.MEM.WR: 8 bytes of a debuggable TD's memory. RCX: GPA, RDX: TDR, R8: data; R8 out: what was there. */
export function memRdWr(call: Call): void {
  Object.assign(call.out, { rcx: 0n, rdx: 0n, r8: 0n });
  const td = call.td(call.rdx, 'RDX', false);
  call.checkState(td);
  if (!(td.configuration!.attributes & ATTRIBUTES_DEBUG)) throw refuse('module.mem-rd.debug');
  if (call.rcx % 8n !== 0n) throw refuse('module.mem-rd.alignment', 'RCX');
  const gpa = checkGpa(call, td, call.rcx);
  const walk = walkTo(td, gpa, 0);
  if (walk.entry?.state !== SEPT.MAPPED) throw septFailure(call, walk, 'module.mem-rd.present', 'RCX');
  if (!septStateAllows(call.leaf, walk.entry.state)) throw septFailure(call, walk, 'module.sept.state', 'RCX');

  const memory = td.guest ?? new ModuleMemory(call.module.pamt, pageOf(walk, gpa));
  const old = memory.readPrivate(gpa, 8);
  call.out.r8 = new DataView(old.buffer, old.byteOffset).getBigUint64(0, true);
  if (call.leaf !== TDH.MEM_WR) return;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, call.r8, true);
  memory.writePrivate(gpa, bytes);
}

/** A page of a TD that no engine has yet. */
class ModuleMemory implements Pick<GuestTd, 'readPrivate' | 'writePrivate'> {
  constructor(
    readonly pamt: Pamt,
    readonly hpa: number,
  ) {}

  readPrivate(gpa: number, length: number): Uint8Array {
    const offset = gpa % PAGE_4K;
    return this.pamt.content(this.hpa)?.subarray(offset, offset + length) ?? new Uint8Array(length);
  }

  writePrivate(gpa: number, bytes: Uint8Array): void {
    const content = this.pamt.content(this.hpa) ?? this.pamt.fill(this.hpa, new Uint8Array(PAGE_4K));
    content.set(bytes, gpa % PAGE_4K);
  }
}
