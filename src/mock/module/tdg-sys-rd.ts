import { SYS_FIELDS } from './fields-sys.js';
import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import {
  CONTEXT,
  checkReadId,
  codeIn,
  findGuestField,
  type GuestField,
  guestFields,
  isNull,
  NO_FIELD,
  nextElement,
  withContext,
} from './guest-fields.js';
import { checkAligned, operand } from './guest-operand.js';
import { fieldClass, fieldCode } from './metadata.js';
import { PAGE_4K } from './pamt.js';
import { refuse } from './refusal.js';

const INTEL = 0x8086n;
const L2_GPA_ATTRIBUTES = 0x807fn;

/** Values that are the same for every module here; migration reads 0 (metadata_sys.c). The others are in the rules documents. */
const FIXED: Readonly<Record<string, bigint>> = { VENDOR_ID: INTEL, GUEST_L2_GPA_ATTR_MASK: L2_GPA_ATTRIBUTES };

const rowsOf = ({ state }: Guest): GuestField[] => guestFields(SYS_FIELDS, state.facts.features);

const fieldValue = ({ module }: Guest, { id, name, read }: GuestField): bigint =>
  (FIXED[name] ?? module.sysInfo.fields.get(id) ?? 0n) & read;

/** TDG.SYS.RD: global metadata. RDX: field id; R8: value, RDX: the id of the next field (tdg_sys_rd.c). */
export function tdgSysRd(guest: Guest): undefined {
  const { gprs } = guest.cpu;
  const id = withContext(gprs[GPR.RDX]!, CONTEXT.SYS);
  gprs[GPR.RDX] = NO_FIELD;
  gprs[GPR.R8] = 0n;
  const rows = rowsOf(guest);
  checkReadId(rows, id, (next) => (gprs[GPR.RDX] = next));
  const row = findGuestField(rows, id);
  if (!row) throw refuse('module.metadata.id');
  if (row.read === 0n) throw refuse('module.metadata.guest-readable');
  gprs[GPR.R8] = fieldValue(guest, row);
  gprs[GPR.RDX] = nextElement(rows, id);
}

/**
 * TDG.SYS.RDALL: all global metadata that a guest may read. RDX: private GPA of a page for the list, R8: first field id, -1 for
 * all; R8 out: the first that is not in the list (tdg_sys_rdall.c).
 */
export function tdgSysRdall(guest: Guest): undefined {
  const { gprs } = guest.cpu;
  const page = gprs[GPR.RDX]!;
  const id = withContext(gprs[GPR.R8]!, CONTEXT.SYS);
  gprs[GPR.R8] = NO_FIELD;
  checkAligned(page, PAGE_4K, 'RDX');
  const list = operand(guest, page, 'RDX', { write: true });
  const rows = rowsOf(guest);
  const start = isNull(id) ? 0 : startOf(rows, id);
  list.write(listOf(guest, rows.slice(start)));
}

const sizeCode = (id: bigint): bigint => (id >> 32n) & 3n;

function startOf(rows: readonly GuestField[], id: bigint): number {
  const row = findGuestField(rows, id);
  if (!row || codeIn(row, id) % row.elements !== 0 || sizeCode(id) !== sizeCode(row.id))
    throw refuse('module.metadata.id');
  return rows.indexOf(row);
}

const HEADER = 8;
const LAST_FIELD_SHIFT = 38n;

/**
 * MD_LIST: its size in bytes, the number of sequences; each sequence is a field id that says how many fields follow, and
 * their values (metadata_generic.c md_dump_list). Fields that guests read have one element.
 */
function listOf(guest: Guest, rows: readonly GuestField[]): Uint8Array {
  const sequences: GuestField[][] = [];
  for (const row of rows) {
    if (row.read === 0n) continue;
    const open = sequences.at(-1);
    const last = open?.at(-1);
    if (open && last && follows(last.id, row.id)) open.push(row);
    else sequences.push([row]);
  }
  const quads = sequences.flatMap((sequence) => [
    sequence[0]!.id | (BigInt(sequence.length - 1) << LAST_FIELD_SHIFT),
    ...sequence.map((row) => fieldValue(guest, row)),
  ]);
  const bytes = new Uint8Array(HEADER + 8 * quads.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, bytes.length, true);
  view.setUint16(2, sequences.length, true);
  for (const [i, quad] of quads.entries()) view.setBigUint64(HEADER + 8 * i, quad, true);
  return bytes;
}

const follows = (last: bigint, next: bigint): boolean =>
  fieldClass(last) === fieldClass(next) && fieldCode(last) + 1 === fieldCode(next) && sizeCode(last) === sizeCode(next);
