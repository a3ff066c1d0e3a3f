// Linear to guest physical addresses: Intel SDM volume 3, chapter 5. A TD has EFER.LME set from its first instruction, so
// there is no paging but that of long mode; of it, four levels.
import type { Access } from '../engine.js';
import { AC, CR0_PG, CR0_WP, CR4_SMAP, CR4_SMEP, EFER_NXE, VECTOR } from './bits.js';
import { EptViolation, GuestFault } from './fault.js';
import type { PhysicalMemory } from './physical-memory.js';
import { type CpuState, unsigned } from './state.js';

const PAGE_SIZE = 0x1000;
const TWO_32 = 0x1_0000_0000;

// Entries of the tables.
const PRESENT = 1;
const WRITABLE = 2;
const USER = 4;
const ACCESSED = 0x20;
const DIRTY = 0x40;
const LARGE = 0x80;
const NX_HIGH = 0x8000_0000;
const ADDRESS_HIGH = 0xf_ffff;

// Error code of a page fault.
const PF_PRESENT = 1;
const PF_WRITE = 2;
const PF_USER = 4;
const PF_RESERVED = 8;
const PF_FETCH = 16;

/** Bytes that one entry of a level spans, from PML4 to page table. */
const SPANS = [2 ** 39, 2 ** 30, 2 ** 21, 2 ** 12] as const;
/** Address bits that must be 0 in an entry that maps a page of this level; undefined where no page can be. */
const RESERVED_IN_LARGE = [undefined, 0x3fff_e000, 0x1f_e000] as const;

export const isCanonical = (linear: number): boolean => linear >= -(2 ** 47) && linear < 2 ** 47;

interface Walk {
  readonly state: CpuState;
  readonly memory: PhysicalMemory;
  readonly linear: number;
  readonly access: Access;
  readonly user: boolean;
}

function pageFault({ state, linear, access, user }: Walk, why: number): GuestFault {
  const fetch = access === 'execute' && ((state.efer & EFER_NXE) !== 0 || (state.cr4 & CR4_SMEP) !== 0);
  const code = why | (access === 'write' ? PF_WRITE : 0) | (user ? PF_USER : 0) | (fetch ? PF_FETCH : 0);
  return new GuestFault(VECTOR.PF, code, unsigned(linear));
}

/** An entry of a paging structure, as two halves, and where it lies. */
interface Entry {
  gpa: number;
  low: number;
  high: number;
}

function readEntry({ memory, linear }: Walk, gpa: number): Entry {
  const bytes = memory.read(gpa, 8);
  if (bytes === undefined) throw new EptViolation(gpa, unsigned(linear), 'read');
  const view = new DataView(bytes.buffer, bytes.byteOffset, 8);
  return { gpa, low: view.getUint32(0, true), high: view.getUint32(4, true) };
}

/** Sets the Accessed or Dirty bits that the entry lacks. */
function mark({ memory, linear }: Walk, entry: Entry, bits: number): void {
  if ((entry.low & bits) === bits) return;
  // The lowest byte holds both bits; writing no more keeps what others wrote to the rest.
  if (!memory.write(entry.gpa, Uint8Array.of((entry.low | bits) & 0xff))) {
    throw new EptViolation(entry.gpa, unsigned(linear), 'write');
  }
}

const addressOf = ({ low, high }: Entry): number => (high & ADDRESS_HIGH) * TWO_32 + ((low & 0xffff_f000) >>> 0);

/** What all the entries on the way allow. */
export interface Rights {
  writable: boolean;
  user: boolean;
  executable: boolean;
}

function checkRights(walk: Walk, rights: Rights): void {
  const { state, access, user } = walk;
  const { cr0, cr4, flags } = state;
  let allowed: boolean;
  if (user) {
    allowed = rights.user && (access !== 'write' || rights.writable);
  } else if (access === 'execute') {
    allowed = !(rights.user && (cr4 & CR4_SMEP) !== 0);
  } else {
    const smap = rights.user && (cr4 & CR4_SMAP) !== 0 && (flags & AC) === 0;
    allowed = !smap && (access === 'read' || rights.writable || (cr0 & CR0_WP) === 0);
  }
  if (access === 'execute' && !rights.executable) allowed = false;
  if (!allowed) throw pageFault(walk, PF_PRESENT);
}

function checkReserved(walk: Walk, entry: Entry, level: number, maps: boolean): void {
  const noNx = entry.high >= NX_HIGH && (walk.state.efer & EFER_NXE) === 0;
  const large = (entry.low & LARGE) !== 0;
  const misplaced = level === 0 && large;
  const address = maps && large && level < 3 ? (entry.low & (RESERVED_IN_LARGE[level] ?? 0)) !== 0 : false;
  if (noNx || misplaced || address) throw pageFault(walk, PF_PRESENT | PF_RESERVED);
}

/** How paging maps a linear address. */
export interface Mapping {
  /** Bytes, with the SHARED bit. */
  gpa: number;
  /** Bytes that the entry of the page maps: 2^30, 2^21 or 2^12. */
  span: number;
  /** GPA of the table that holds this entry. */
  table: number;
  /** What the entries above it allow, and all together. */
  above: Readonly<Rights>;
  rights: Readonly<Rights>;
  dirty: boolean;
}

/**
 * The guest physical address, in bytes and with the SHARED bit, that `linear` (signed, canonical) stands for. Sets the
 * Accessed and Dirty bits as the access does.
 * @param cpl privilege of the access; 0 for what the processor does itself (descriptor tables, TSS).
 * @throws GuestFault #PF; EptViolation where a paging structure lies in memory that does not answer.
 */
export function translate(
  state: CpuState,
  memory: PhysicalMemory,
  linear: number,
  access: Access,
  cpl: number = state.cpl,
): number {
  return (state.cr0 & CR0_PG) === 0 ? linear : mappingOf(state, memory, linear, access, cpl).gpa;
}

/** As {@link translate}, with all that is known of the page. Paging is on. */
export function mappingOf(
  state: CpuState,
  memory: PhysicalMemory,
  linear: number,
  access: Access,
  cpl: number = state.cpl,
): Mapping {
  const walk: Walk = { state, memory, linear, access, user: cpl === 3 };
  const rights: Rights = { writable: true, user: true, executable: true };
  const entries: Entry[] = [];
  let table = state.cr3 - (state.cr3 % PAGE_SIZE);
  for (let level = 0; ; level++) {
    const span = SPANS[level] as number;
    const entry = readEntry(walk, table + (Math.floor(linear / span) & 511) * 8);
    if ((entry.low & PRESENT) === 0) throw pageFault(walk, 0);
    const maps = level === 3 || (level > 0 && (entry.low & LARGE) !== 0);
    checkReserved(walk, entry, level, maps);
    const above = maps ? { ...rights } : rights;
    rights.writable &&= (entry.low & WRITABLE) !== 0;
    rights.user &&= (entry.low & USER) !== 0;
    rights.executable &&= entry.high < NX_HIGH;
    entries.push(entry);
    if (!maps) {
      table = addressOf(entry);
      continue;
    }
    checkRights(walk, rights);
    for (const parent of entries.slice(0, -1)) mark(walk, parent, ACCESSED);
    mark(walk, entry, access === 'write' ? ACCESSED | DIRTY : ACCESSED);
    const base = addressOf(entry);
    const offset = linear - Math.floor(linear / span) * span;
    const dirty = access === 'write' || (entry.low & DIRTY) !== 0;
    return { gpa: base - (base % span) + offset, span, table, above, rights, dirty };
  }
}
