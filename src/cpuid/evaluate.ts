import type { Host } from './host.js';
import type { CompiledRequirement, FieldCode } from './rules.js';
import type { Scope } from './scope.js';
import { checkTopology } from './topology.js';

/** A check of the rules document that TD_PARAMS fails. */
export interface Refusal {
  /** Id of the rulebook entry. */
  rule: string;
  /** Lower half of the status where it is not an operand. */
  details: number;
  rcx: bigint;
}

const NOT_CONFIGURABLE: Refusal = { rule: 'module.mng-init.cpuid-config', details: 0, rcx: 0n };

/** Fills the scope of `host` from TD_PARAMS (at least 1024 bytes) and the number of TDCX pages. */
export function loadTdParams(host: Host, params: Uint8Array, tdcxPages: number): void {
  const { scope, rules } = host;
  const view = new DataView(params.buffer, params.byteOffset, params.byteLength);
  scope.params = params;
  rules.fields.forEach(({ offset, size }, slot) => {
    if (offset < 0) {
      scope.low[slot] = tdcxPages;
    } else if (size === 8) {
      scope.low[slot] = view.getUint32(offset, true);
      scope.high[slot] = view.getUint32(offset + 4, true);
    } else {
      scope.low[slot] =
        size === 1 ? view.getUint8(offset) : size === 2 ? view.getUint16(offset, true) : view.getUint32(offset, true);
    }
  });
  const start = rules.document.tdParams.cpuidConfig;
  rules.entries.forEach(({ config }, i) => {
    if (config < 0) return;
    for (let r = 0; r < 4; r++) scope.config[i * 4 + r] = view.getUint32(start + config * 16 + r * 4, true);
  });
}

export const refusal = (check: CompiledRequirement, id: bigint): Refusal => ({
  rule: check.rule,
  details: check.details,
  rcx: check.rcxIsLeaf ? id : 0n,
});

/** Sets calculated fields of CPUID registers in the scope. */
export function calculate(fields: readonly FieldCode[], scope: Scope): void {
  const { virtual } = scope;
  for (const { slot, shift, mask, value } of fields) {
    virtual[slot] = (virtual[slot]! & ~(mask << shift)) | ((value.low(scope) & mask) << shift);
  }
}

/** Evaluates every CPUID entry for the TD_PARAMS in the scope of `host`, into scope.virtual; undefined: accepted. */
function evaluateEntries(host: Host): Refusal | undefined {
  const { scope, sampled } = host;
  const { virtual, config } = scope;
  const xfam = scope.low[host.rules.xfamSlot]!;
  const { entries } = host.rules;
  for (let i = 0; i < entries.length; i++) {
    const e = entries[i]!;
    const base = i * 4;
    if (e.config >= 0) {
      for (let r = 0; r < 4; r++) {
        const wanted = config[base + r]!;
        const configured = e.configured[r]!;
        const allowed = e.allowed[r]!;
        if (wanted & ~(configured | allowed)) return { ...NOT_CONFIGURABLE, rcx: e.id };
        const value = (sampled[base + r]! & ~configured) | (wanted & configured);
        virtual[base + r] = value & (wanted | ~allowed);
      }
    } else {
      for (let r = 0; r < 4; r++) virtual[base + r] = sampled[base + r]!;
    }
    for (const { bit, masks } of e.xfam) {
      if ((xfam >>> bit) & 1) continue;
      for (let r = 0; r < 4; r++) virtual[base + r]! &= ~masks[r]!;
    }
    if (e.only && !e.only(scope)) virtual.fill(0, base, base + 4);
    calculate(e.set, scope);
    for (const check of e.checks) if (!check.holds(scope)) return refusal(check, e.id);
  }
  return undefined;
}

/** All checks of TDH.MNG.INIT on the TD_PARAMS in the scope of `host`, in the module's order; undefined: accepted. */
export function evaluateTd(host: Host): Refusal | undefined {
  for (const step of host.rules.init) {
    if ('check' in step) {
      if (!step.check.holds(host.scope)) return refusal(step.check, 0n);
      continue;
    }
    const refused =
      step.run === 'cpuid'
        ? evaluateEntries(host)
        : checkTopology(host.rules.topology, host.scope.virtual, host.sampled);
    if (refused) return refused;
  }
  return undefined;
}
