import { TDH } from './seamcall.js';

/**
 * States of a secure EPT entry, named as in Intel's module source; the value is the architectural state that a host reads
 * in RDX[15:8] (auto_gen/sept_state_lookup.c, public_state). Those of migration are left out: nothing here leads to them.
 */
export const SEPT = {
  FREE: 0,
  BLOCKED: 1,
  PENDING: 2,
  PENDING_BLOCKED: 3,
  MAPPED: 4,
  NL_BLOCKED: 129,
  NL_MAPPED: 132,
} as const;
export type SeptState = (typeof SEPT)[keyof typeof SEPT];

const { FREE, BLOCKED, PENDING, PENDING_BLOCKED, MAPPED, NL_BLOCKED, NL_MAPPED } = SEPT;

/** Entry states in which a leaf is served (auto_gen/sept_state_lookup.c, seamcall_sept_state_lookup). */
const ALLOWED: Readonly<Record<number, readonly SeptState[]>> = {
  [TDH.MEM_PAGE_ADD]: [FREE],
  [TDH.MEM_SEPT_ADD]: [FREE, NL_MAPPED],
  [TDH.MEM_PAGE_AUG]: [FREE],
  [TDH.MEM_RANGE_BLOCK]: [NL_MAPPED, MAPPED, PENDING],
  [TDH.MEM_RD]: [MAPPED],
  [TDH.MEM_WR]: [MAPPED],
  [TDH.MR_EXTEND]: [MAPPED],
  [TDH.MEM_PAGE_REMOVE]: [MAPPED, BLOCKED, PENDING, PENDING_BLOCKED],
  [TDH.MEM_SEPT_REMOVE]: [NL_MAPPED, NL_BLOCKED],
  [TDH.MEM_RANGE_UNBLOCK]: [NL_BLOCKED, BLOCKED, PENDING_BLOCKED],
};

export const septStateAllows = (leaf: number, state: SeptState): boolean => ALLOWED[leaf]?.includes(state) === true;

export const isBlocked = (state: SeptState): boolean =>
  state === BLOCKED || state === PENDING_BLOCKED || state === NL_BLOCKED;

export const isLeafState = (state: SeptState): boolean =>
  state === MAPPED || state === BLOCKED || state === PENDING || state === PENDING_BLOCKED;

const BLOCKS: Partial<Record<SeptState, SeptState>> = {
  [NL_MAPPED]: NL_BLOCKED,
  [MAPPED]: BLOCKED,
  [PENDING]: PENDING_BLOCKED,
};
const UNBLOCKS: Partial<Record<SeptState, SeptState>> = {
  [NL_BLOCKED]: NL_MAPPED,
  [BLOCKED]: MAPPED,
  [PENDING_BLOCKED]: PENDING,
};

export const blocked = (state: SeptState): SeptState => BLOCKS[state] ?? state;
export const unblocked = (state: SeptState): SeptState => UNBLOCKS[state] ?? state;
