import { TDH } from './seamcall.js';

/** TDCS.OP_STATE (op_state_lookup.h). */
export const OP_STATE = {
  UNINITIALIZED: 0,
  INITIALIZED: 1,
  RUNNABLE: 2,
  LIVE_EXPORT: 3,
  PAUSED_EXPORT: 4,
  POST_EXPORT: 5,
  MEMORY_IMPORT: 6,
  STATE_IMPORT: 7,
  POST_IMPORT: 8,
  LIVE_IMPORT: 9,
  FAILED_IMPORT: 10,
} as const;
export type OpState = (typeof OP_STATE)[keyof typeof OP_STATE];

// One letter per state, in the order of OP_STATE: uninitialised, initialised, runnable, live / paused / post export,
// memory / state / post / live import, failed import. Source: auto_gen/op_state_lookup.c.
const LETTERS = 'UIRLPXMSOVF';

const ALLOWED: Readonly<Record<number, string>> = {
  [TDH.VP_ENTER]: 'RLV',
  [TDH.MNG_ADDCX]: 'U',
  [TDH.MEM_PAGE_ADD]: 'I',
  [TDH.MEM_SEPT_ADD]: 'IRLMSOV',
  [TDH.VP_ADDCX]: 'IS',
  [TDH.MEM_PAGE_RELOCATE]: 'IRLPXOV',
  [TDH.MEM_PAGE_AUG]: 'IRLV',
  [TDH.MEM_RANGE_BLOCK]: 'IRLPXOV',
  [TDH.VP_CREATE]: 'IS',
  [TDH.MNG_RD]: 'IRLPXMSOVF',
  [TDH.MEM_RD]: 'IRLPXMSOVF',
  [TDH.MNG_WR]: 'IRLMSOVF',
  [TDH.MEM_WR]: 'IRLMSOVF',
  [TDH.MEM_PAGE_DEMOTE]: 'IRLPXOV',
  [TDH.MR_EXTEND]: 'I',
  [TDH.MR_FINALIZE]: 'I',
  [TDH.VP_FLUSH]: 'UIRLPXMSOVF',
  [TDH.MNG_INIT]: 'U',
  [TDH.VP_INIT]: 'I',
  [TDH.MEM_PAGE_PROMOTE]: 'IRLPXOV',
  [TDH.MEM_SEPT_RD]: 'IRLPXMSOVF',
  [TDH.VP_RD]: 'IRLPXMSOVF',
  [TDH.MEM_PAGE_REMOVE]: 'IRLPXOVF',
  [TDH.MEM_SEPT_REMOVE]: 'IRLPXMSOVF',
  [TDH.MEM_TRACK]: 'IRLPXMSOV',
  [TDH.MEM_RANGE_UNBLOCK]: 'IRLPXOV',
  [TDH.VP_WR]: 'IRLMSOVF',
};

/** Whether `leaf` is served while the TD is in `state`. */
export const opStateAllows = (leaf: number, state: OpState): boolean => {
  const letters = ALLOWED[leaf];
  return letters === undefined || letters.includes(LETTERS[state] as string);
};

/** While VCPUs may run, a page must be blocked and tracked before it goes away. */
export const opStateTracksTlb = (state: OpState): boolean =>
  state === OP_STATE.RUNNABLE || state === OP_STATE.LIVE_EXPORT;
