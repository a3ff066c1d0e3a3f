// State of a plain VM's vCPU beyond its registers, as the bytes of the kernel's structs. Checked on the way in.
import { bytes, integer, list, record, u64 } from './check.js';
import type { KvmVcpuEvents, KvmXcr } from './vcpu.js';

const XSAVE_BYTES = 4096;
const XCRS_BYTES = 392;
const MAX_XCRS = 16;
const EVENTS_BYTES = 64;

const eventFields = [
  ['exception', 'injected', 0, 1],
  ['exception', 'nr', 1, 1],
  ['exception', 'hasErrorCode', 2, 1],
  ['exception', 'pending', 3, 1],
  ['exception', 'errorCode', 4, 4],
  ['interrupt', 'injected', 8, 1],
  ['interrupt', 'nr', 9, 1],
  ['interrupt', 'soft', 10, 1],
  ['interrupt', 'shadow', 11, 1],
  ['nmi', 'injected', 12, 1],
  ['nmi', 'pending', 13, 1],
  ['nmi', 'masked', 14, 1],
] as const;
const EVENTS_FLAGS = 20;

const viewOf = (data: Uint8Array): DataView => new DataView(data.buffer, data.byteOffset, data.byteLength);

const number = (view: DataView, at: number, size: number): number =>
  size === 1 ? view.getUint8(at) : size === 2 ? view.getUint16(at, true) : view.getUint32(at, true);

function setNumber(view: DataView, at: number, size: number, value: number): void {
  if (size === 1) view.setUint8(at, value);
  else if (size === 2) view.setUint16(at, value, true);
  else view.setUint32(at, value, true);
}

/** @throws TypeError, RangeError. */
export const xsaveBytes = (xsave: unknown): Uint8Array => bytes('xsave', xsave, XSAVE_BYTES);

/** @throws TypeError, RangeError. */
export function packXcrs(xcrs: unknown): Uint8Array {
  const values = list('xcrs', xcrs);
  integer('xcrs.length', values.length, MAX_XCRS);
  const packed = new Uint8Array(XCRS_BYTES);
  const view = viewOf(packed);
  view.setUint32(0, values.length, true);
  values.forEach((value, i) => {
    const { xcr, value: content } = record(`xcrs[${i}]`, value);
    view.setUint32(8 + 16 * i, integer(`xcrs[${i}].xcr`, xcr, 0xffff_ffff), true);
    view.setBigUint64(16 + 16 * i, u64(`xcrs[${i}].value`, content), true);
  });
  return packed;
}

export function unpackXcrs(packed: Uint8Array): KvmXcr[] {
  const view = viewOf(packed);
  return Array.from({ length: Math.min(view.getUint32(0, true), MAX_XCRS) }, (_, i) => ({
    xcr: view.getUint32(8 + 16 * i, true),
    value: view.getBigUint64(16 + 16 * i, true),
  }));
}

/** @throws TypeError, RangeError. */
export function packVcpuEvents(events: unknown): Uint8Array {
  const values = record('events', events);
  const packed = new Uint8Array(EVENTS_BYTES);
  const view = viewOf(packed);
  for (const [part, name, at, size] of eventFields) {
    const path = `events.${part}`;
    const value = record(path, values[part])[name];
    setNumber(view, at, size, integer(`${path}.${name}`, value, 2 ** (8 * size) - 1));
  }
  view.setUint32(EVENTS_FLAGS, integer('events.flags', values['flags'], 0xffff_ffff), true);
  return packed;
}

export function unpackVcpuEvents(packed: Uint8Array): KvmVcpuEvents {
  const view = viewOf(packed);
  const events: Record<string, Record<string, number>> = { exception: {}, interrupt: {}, nmi: {} };
  for (const [part, name, at, size] of eventFields) events[part]![name] = number(view, at, size);
  return { ...events, flags: view.getUint32(EVENTS_FLAGS, true) } as unknown as KvmVcpuEvents;
}
