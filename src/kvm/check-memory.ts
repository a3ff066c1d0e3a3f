// Arguments that are memory, or ranges of it.
import { bytes, inside, integer, list, rangeError, record, typeError, u32, u64 } from './check.js';
import { PAGE_SIZE } from './constants.js';
import { KvmStateError } from './errors.js';
import type { GuestMemfd, GuestMemory } from './memory.js';
import type { TdxMemRegion } from './vcpu.js';
import type { MemoryRegion2 } from './vm.js';

/** A class of a backend. Its instances are told by what they hold, for a prototype can be had by anything. */
interface Kind<T> {
  made(value: object): value is T & object;
}

/** What memory of any backend can do, and a guest_memfd cannot, or the other way round. */
const trait = { 'region.memory': 'read', 'region.source': 'read', 'region.guestMemfd': 'punchHole' } as const;

/** An argument that must be of this backend. @throws KvmStateError for the same thing of another backend. */
function made<T>(name: keyof typeof trait, value: unknown, kind: Kind<T>): T {
  const object = record(name, value);
  if (kind.made(object)) return object;
  if (typeof object[trait[name]] === 'function') {
    throw new KvmStateError('ERR_KVM_FOREIGN_OBJECT', `${name} belongs to another backend than this object`);
  }
  const maker = trait[name] === 'read' ? 'memory made by createMemory' : 'a guest_memfd made by createGuestMemfd';
  throw typeError(name, `${maker} of the same system`, value);
}

/** Bytes of memory to be made. */
export function memorySize(size: unknown): number {
  const value = integer('size', size);
  if (value === 0 || value % PAGE_SIZE !== 0) throw rangeError('size', `a positive multiple of ${PAGE_SIZE}`, value);
  return value;
}

/** Arguments of GuestMemory.read. */
export function readRange(memory: GuestMemory, offset: unknown, length: unknown): void {
  inside(integer('offset', offset), integer('length', length), memory.size, 'memory');
}

/** Arguments of GuestMemory.write. */
export function writeRange(memory: GuestMemory, offset: unknown, data: unknown): void {
  const start = integer('offset', offset);
  inside(start, bytes('bytes', data).length, memory.size, 'memory');
}

/** Arguments of GuestMemory.discard. */
export function discardRange(memory: GuestMemory, offset: unknown, length: unknown): void {
  readRange(memory, offset, length);
  for (const [name, value] of Object.entries({ offset, length })) {
    if ((value as number) % PAGE_SIZE !== 0) throw rangeError(name, `a multiple of ${PAGE_SIZE}`, value);
  }
}

/** A memory slot whose fields are checked, each with its default. */
export interface CheckedSlot<Memory, Memfd> {
  slot: number;
  flags: number;
  gpa: bigint;
  size: number;
  memory: Memory | null;
  memoryOffset: number;
  guestMemfd: Memfd | null;
  guestMemfdOffset: number;
}

/**
 * The argument of setUserMemoryRegion, and with `memfdKind` that of setUserMemoryRegion2. Each field is read once: what is
 * checked is what is used.
 */
export function memorySlot<Memory extends GuestMemory, Memfd extends GuestMemfd>(
  region: unknown,
  memoryKind: Kind<Memory>,
  memfdKind?: Kind<Memfd>,
): CheckedSlot<Memory, Memfd> {
  const given = record('region', region) as unknown as MemoryRegion2;
  const { slot, flags = 0, gpa, size, memory, memoryOffset = 0 } = given;
  const checked = {
    slot: u32('region.slot', slot),
    flags: u32('region.flags', flags),
    gpa: u64('region.gpa', gpa),
    size: integer('region.size', size),
    memory: memory == null ? null : made('region.memory', memory, memoryKind),
    memoryOffset: integer('region.memoryOffset', memoryOffset),
    guestMemfd: null,
    guestMemfdOffset: 0,
  };
  if (checked.memory && checked.size > 0) {
    inside(checked.memoryOffset, checked.size, checked.memory.size, 'region.memory');
  }
  if (!memfdKind) return checked;
  const { guestMemfd, guestMemfdOffset = 0 } = given;
  return {
    ...checked,
    guestMemfd: guestMemfd == null ? null : made('region.guestMemfd', guestMemfd, memfdKind),
    guestMemfdOffset: integer('region.guestMemfdOffset', guestMemfdOffset),
  };
}

/** The argument of initMemRegion; each field is read once. */
export function memRegion<Memory extends GuestMemory>(
  region: unknown,
  kind: Kind<Memory>,
): TdxMemRegion & { source: Memory } {
  const given = record('region', region) as unknown as TdxMemRegion;
  const { source, sourceOffset, gpa, nrPages, measure, onProgress } = given;
  const checked = {
    source: made('region.source', source, kind),
    sourceOffset: integer('region.sourceOffset', sourceOffset),
    gpa: u64('region.gpa', gpa),
    nrPages: integer('region.nrPages', nrPages),
    measure,
  };
  if (typeof measure !== 'boolean') throw typeError('region.measure', 'a boolean', measure);
  inside(checked.sourceOffset, checked.nrPages * PAGE_SIZE, checked.source.size, 'region.source');
  if (onProgress === undefined) return checked;
  if (typeof onProgress !== 'function') throw typeError('region.onProgress', 'a function', onProgress);
  return { ...checked, onProgress };
}

/** Arguments of enableCap: capability, flags and four numbers. */
export function enableCapArguments(capability: unknown, args: unknown, flags: unknown) {
  const cap = u32('capability', capability);
  const numbers = list('args', args);
  if (numbers.length > 4) throw rangeError('args', 'at most 4 numbers', numbers.length);
  return { cap, args: Array.from(numbers, (value, i) => u64(`args[${i}]`, value)), flags: u32('flags', flags) };
}
