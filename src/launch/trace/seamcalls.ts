// Host-side interface functions of the TDX module in words (Intel TDX module ABI).
import { decodeTdxStatus } from '../../kvm/index.js';
import type { SeamcallArgs, SeamcallResult } from '../../mock/module/seamcall.js';
import { TDH } from '../../mock/module/seamcall.js';
import { type Facts, hex } from './exit-text.js';
import { exitReasonText } from './vmx-exit-reasons.js';

type Operand = 'rcx' | 'rdx' | 'r8' | 'r9';

/** What operands are called; those that are not here go by their register. */
const OPERANDS: Readonly<Partial<Record<keyof typeof TDH, Readonly<Partial<Record<Operand, string>>>>>> = {
  VP_ENTER: { rcx: 'tdvpr' },
  MNG_ADDCX: { rcx: 'tdcx', rdx: 'tdr' },
  MEM_PAGE_ADD: { rcx: 'gpa', rdx: 'tdr', r8: 'page', r9: 'source' },
  MEM_SEPT_ADD: { rcx: 'gpa_and_level', rdx: 'tdr', r8: 'page' },
  VP_ADDCX: { rcx: 'tdcx', rdx: 'tdvpr' },
  MEM_PAGE_AUG: { rcx: 'gpa_and_level', rdx: 'tdr', r8: 'page' },
  MEM_RANGE_BLOCK: { rcx: 'gpa_and_level', rdx: 'tdr' },
  MNG_KEY_CONFIG: { rcx: 'tdr' },
  MNG_CREATE: { rcx: 'tdr', rdx: 'hkid' },
  VP_CREATE: { rcx: 'tdvpr', rdx: 'tdr' },
  MNG_RD: { rcx: 'tdr', rdx: 'field' },
  MNG_WR: { rcx: 'tdr', rdx: 'field', r8: 'value', r9: 'mask' },
  MR_EXTEND: { rcx: 'gpa', rdx: 'tdr' },
  MR_FINALIZE: { rcx: 'tdr' },
  VP_FLUSH: { rcx: 'tdvpr' },
  MNG_VPFLUSHDONE: { rcx: 'tdr' },
  MNG_KEY_FREEID: { rcx: 'tdr' },
  MNG_INIT: { rcx: 'tdr', rdx: 'td_params' },
  VP_INIT: { rcx: 'tdvpr', rdx: 'guest_rcx', r8: 'x2apic_id' },
  VP_RD: { rcx: 'tdvpr', rdx: 'field' },
  VP_WR: { rcx: 'tdvpr', rdx: 'field', r8: 'value', r9: 'mask' },
  PHYMEM_PAGE_RECLAIM: { rcx: 'page' },
  PHYMEM_PAGE_WBINVD: { rcx: 'page' },
  PHYMEM_CACHE_WB: { rcx: 'resume' },
  MEM_PAGE_REMOVE: { rcx: 'gpa_and_level', rdx: 'tdr' },
  MEM_SEPT_REMOVE: { rcx: 'gpa_and_level', rdx: 'tdr' },
  MEM_TRACK: { rcx: 'tdr' },
  MEM_RANGE_UNBLOCK: { rcx: 'gpa_and_level', rdx: 'tdr' },
};

const nameOf = new Map(Object.entries(TDH).map(([name, leaf]) => [leaf as number, name as keyof typeof TDH]));
const ERROR = 1n << 63n;

/** `TDH.MEM.PAGE.AUG`. */
export const seamcallName = (leaf: number): string =>
  nameOf.has(leaf) ? `TDH.${nameOf.get(leaf)!.replaceAll('_', '.')}` : `SEAMCALL leaf ${leaf}`;

export function seamcallFacts(leaf: number, args: SeamcallArgs): Facts {
  const name = nameOf.get(leaf);
  const operands: Readonly<Partial<Record<Operand, string>>> = (name && OPERANDS[name]) || {};
  const facts: Facts = {};
  for (const register of ['rcx', 'rdx', 'r8', 'r9'] as const) {
    const value = args[register];
    if (value !== undefined) facts[operands[register] ?? register] = hex(value);
  }
  return facts;
}

/** `TDX_SUCCESS`, or with TDH.VP.ENTER's exit reason: `TDX_SUCCESS, TDCALL (77)`. */
export function seamcallStatus(leaf: number, { status }: Pick<SeamcallResult, 'status'>): string {
  if (status === 0n) return 'TDX_SUCCESS';
  if (leaf !== TDH.VP_ENTER || status & ERROR) return decodeTdxStatus(status).text;
  const { name } = decodeTdxStatus(status & ~0xffff_ffffn);
  return `${name}, ${exitReasonText(Number(status & 0xffff_ffffn))}`;
}
