// Segment descriptors in memory: Intel SDM volume 3, chapter 3.4.5 and 5.
import { EFER_LMA, VECTOR } from './bits.js';
import { GuestFault } from './fault.js';
import { readLinear, writeLinear } from './linear-memory.js';
import type { PhysicalMemory } from './physical-memory.js';
import type { CpuState } from './state.js';

export interface Descriptor {
  selector: number;
  /** Linear address of its eight bytes. */
  at: number;
  base: number;
  limit: number;
  /** As in `Segment.access`. */
  access: number;
  type: number;
  dpl: number;
  present: boolean;
  /** Code or data, not a system segment. */
  codeOrData: boolean;
}

export const isNull = (selector: number): boolean => (selector & 0xfffc) === 0;

/** The error code that names a selector. */
export const selectorError = (selector: number): number => selector & 0xfffc;

function decodeDescriptor(selector: number, at: number, bytes: Uint8Array): Descriptor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const low = view.getUint32(0, true);
  const high = view.getUint32(4, true);
  const access = (high >> 8) & 0xf0ff;
  const limit = (low & 0xffff) | (high & 0xf_0000);
  const base32 = ((low >>> 16) | ((high & 0xff) << 16) | (high & 0xff00_0000)) >>> 0;
  return {
    selector,
    at,
    base: bytes.length < 16 ? base32 : base32 + view.getInt32(8, true) * 0x1_0000_0000,
    limit: (access & 0x8000) !== 0 ? ((limit << 12) | 0xfff) >>> 0 : limit,
    access,
    type: access & 15,
    dpl: (access >> 5) & 3,
    present: (access & 0x80) !== 0,
    codeOrData: (access & 0x10) !== 0,
  };
}

/**
 * Reads the descriptor of a selector that is not null. In long mode a system descriptor (`system`) has 16 bytes.
 * @throws GuestFault of `vector` with the selector where the table ends before it; EptViolation.
 */
export function readDescriptor(
  state: CpuState,
  memory: PhysicalMemory,
  selector: number,
  system = false,
  vector: number = VECTOR.GP,
): Descriptor {
  const size = system && (state.efer & EFER_LMA) !== 0 ? 16 : 8;
  const table = (selector & 4) === 0 ? state.gdtr : state.ldtr;
  const offset = selector & 0xfff8;
  const missing = (selector & 4) !== 0 && state.ldtr.unusable;
  if (missing || offset + size - 1 > table.limit) throw new GuestFault(vector, selectorError(selector));
  const at = table.base + offset;
  return decodeDescriptor(selector, at, readLinear(state, memory, at, size, 0));
}

const ACCESSED = 1;
const BUSY = 2;

/** Sets bits of a descriptor's type in memory and in `descriptor`. */
function setType(state: CpuState, memory: PhysicalMemory, descriptor: Descriptor, bits: number): void {
  if ((descriptor.type & bits) === bits) return;
  descriptor.access |= bits;
  descriptor.type |= bits;
  writeLinear(state, memory, descriptor.at + 5, Uint8Array.of(descriptor.access & 0xff), 0);
}

export const markAccessed = (state: CpuState, memory: PhysicalMemory, descriptor: Descriptor): void =>
  setType(state, memory, descriptor, ACCESSED);

export const markBusy = (state: CpuState, memory: PhysicalMemory, descriptor: Descriptor): void =>
  setType(state, memory, descriptor, BUSY);
