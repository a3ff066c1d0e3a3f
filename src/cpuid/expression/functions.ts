import { xsaveCompacted, xsaveStandard } from '../xsave.js';
import { type Code, narrow, wide } from './compile.js';

type Make = (...args: Code[]) => Code;

const choose =
  (pick: 'min' | 'max'): Make =>
  (a: Code, b: Code): Code => {
    const first = pick === 'min' ? (x: bigint, y: bigint) => x < y : (x: bigint, y: bigint) => x > y;
    const code = wide((s) => (first(a.wide(s), b.wide(s)) ? a.wide(s) : b.wide(s)));
    return a.narrow && b.narrow ? narrow((s) => Math[pick](a.low(s), b.low(s))) : code;
  };

/**
 * Whether the controls of a VMX capability MSR (lower half: must be 1, upper half: may be 1) allow the module's initial
 * value, leave its variable bits free and force no bit that it does not know.
 */
const vmxControls: Make = (msr: Code, init: Code, variable: Code, unknown: Code) =>
  narrow((s) => {
    const must = Number(msr.wide(s) & 0xffff_ffffn);
    const may = Number(msr.wide(s) >> 32n);
    const [i, v, u] = [init.low(s), variable.low(s), unknown.low(s)];
    return (must & ~(i | u)) === 0 && (~may & i) === 0 && ((must | ~may) & v) === 0 ? 1 : 0;
  });

const vmxFixed: Make = (must: Code, may: Code, init: Code, variable: Code) =>
  narrow((s) => {
    const [m, y, i, v] = [must.wide(s), may.wide(s), init.wide(s), variable.wide(s)];
    return (m & ~i) === 0n && (~y & i) === 0n && ((m | ~y) & v) === 0n ? 1 : 0;
  });

/** The functions of the expression language, by name; how many arguments one takes is its length. */
export const FUNCTIONS: Readonly<Record<string, Make>> = {
  min: choose('min'),
  max: choose('max'),
  /** a * b / c with a product of 128 bits, as MUL and DIV calculate it. */
  muldiv: (a: Code, b: Code, c: Code) =>
    wide((s) => {
      const by = c.wide(s);
      return by === 0n ? 0n : BigInt.asUintN(64, (a.wide(s) * b.wide(s)) / by);
    }),
  /** A model-specific register of the host. */
  msr: (index: Code) => wide((s) => s.host.msr(index.low(s))),
  /** Whether bytes `from` to `to` of TD_PARAMS are all zero. */
  zeros: (from: Code, to: Code) =>
    narrow((s) => {
      const end = Math.min(to.low(s), s.params.length - 1);
      for (let i = from.low(s); i <= end; i++) if (s.params[i] !== 0) return 0;
      return 1;
    }),
  /** Size of the XSAVE area for the components of a mask: standard format, and compacted. */
  xsave_standard: (mask: Code) => narrow((s) => xsaveStandard(s.host.xsave, mask.low(s))),
  xsave_compacted: (mask: Code) => narrow((s) => xsaveCompacted(s.host.xsave, mask.low(s))),
  /** Whether a family and model are in the document's list of known processors. */
  fms_listed: (fms: Code) => narrow((s) => (s.host.fmsPosition(fms.low(s)) >= 0 ? 1 : 0)),
  /** Whether `wanted` is in the list, not before (newer than) `platform`, with a stepping that the list knows. */
  fms_not_newer: (wanted: Code, platform: Code) =>
    narrow((s) => {
      const at = s.host.fmsPosition(wanted.low(s));
      if (at < 0 || at < s.host.fmsPosition(platform.low(s))) return 0;
      return (wanted.low(s) & 0xf) <= (s.host.fmsList[at]! & 0xf) ? 1 : 0;
    }),
  vmx_controls: vmxControls,
  vmx_fixed: vmxFixed,
};
