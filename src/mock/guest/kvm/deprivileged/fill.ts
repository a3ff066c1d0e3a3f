// What the engine's tables take over from the guest's: only what a processor might have in its TLB.
import { PAGE_SIZE } from '../../../../kvm/constants.js';
import { CR0_WP, CR4_SMAP, CR4_SMEP, EFER_NXE } from '../../cpu/bits.js';
import { type CpuState, type Mapping, mappingOf } from '../../cpu/index.js';
import type { Access } from '../../engine.js';
import type { KvmTd } from '../td.js';
import type { CodePages } from './code-pages.js';
import { allows, leaf, type Tables, WINDOW } from './tables.js';

const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const ADDRESS_HIGH = 0xf_ffff;
const NX_HIGH = 0x8000_0000;
const TWO_32 = 2 ** 32;

/** A translation that the guest's tables give: to be remembered. */
interface Cached {
  gpa: number;
  writable: boolean;
  executable: boolean;
}

/**
 * Fills the engine's tables for an access that faulted, as the guest's allow it.
 * @returns false where only software can make this access: to shared memory, or to none.
 * @throws GuestFault of the guest's own; EptViolation.
 */
export function fill(
  td: KvmTd,
  state: CpuState,
  tables: Tables,
  code: CodePages,
  linear: number,
  access: Access,
): boolean {
  const mapping = mappingOf(state, td.software, linear, access);
  if (td.software.isShared(mapping.gpa) || !td.memory.isMapped(mapping.gpa)) return false;
  const page = mapping.gpa - (mapping.gpa % PAGE_SIZE);
  if (access === 'execute') code.executed(page);
  if (access === 'write' && code.written(page)) {
    td.unpatch(page);
    td.discovery.forget(linear);
  }
  const words = new BigUint64Array(512);
  const start = Math.floor(linear / WINDOW) * WINDOW;
  const cached = mapping.span >= WINDOW ? ofLargePage(mapping, linear, start, state) : ofTable(mapping, td, state);
  let shown: { start: number; end: number } | undefined;
  for (const [i, each] of cached.entries()) {
    if (each === undefined) continue;
    if (shown === undefined || each.gpa < shown.start || each.gpa >= shown.end) {
      shown = td.software.isShared(each.gpa) ? undefined : td.memory.shownRange(each.gpa);
      if (shown === undefined) continue;
    }
    const writable = each.writable && code.isWritable(each.gpa);
    words[i] = leaf(each.gpa, writable, each.executable && code.isCode(each.gpa));
  }
  tables.setWindow(linear, words);
  return allows(tables.entry(linear), access);
}

/** Whether writes ignore the tables' rights. */
const mayWriteAll = ({ cr0 }: CpuState): boolean => (cr0 & CR0_WP) === 0;

function ofLargePage(mapping: Mapping, linear: number, start: number, state: CpuState): Cached[] {
  const base = mapping.gpa - (mapping.gpa % PAGE_SIZE) - (Math.floor(linear / PAGE_SIZE) * PAGE_SIZE - start);
  const writable = mapping.dirty && (mapping.rights.writable || mayWriteAll(state));
  const { executable } = mapping.rights;
  return Array.from({ length: 512 }, (_, i) => ({ gpa: base + i * PAGE_SIZE, writable, executable }));
}

/** Those of a table of 4 KiB pages that have been accessed already. */
function ofTable({ table, above }: Mapping, td: KvmTd, state: CpuState): (Cached | undefined)[] {
  const bytes = td.software.read(table, PAGE_SIZE);
  if (bytes === undefined) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_SIZE);
  const nx = (state.efer & EFER_NXE) !== 0;
  const noUser = (state.cr4 & (CR4_SMAP | CR4_SMEP)) !== 0;
  return Array.from({ length: 512 }, (_, i) => {
    const low = view.getUint32(8 * i, true);
    const high = view.getUint32(8 * i + 4, true);
    if ((low & (PRESENT | ACCESSED)) !== (PRESENT | ACCESSED)) return undefined;
    if ((high >= NX_HIGH && !nx) || (noUser && above.user && (low & USER) !== 0)) return undefined;
    const writable = (above.writable && (low & WRITABLE) !== 0) || mayWriteAll(state);
    return {
      gpa: (high & ADDRESS_HIGH) * TWO_32 + ((low & 0xffff_f000) >>> 0),
      writable: writable && (low & DIRTY) !== 0,
      executable: above.executable && high < NX_HIGH,
    };
  });
}
