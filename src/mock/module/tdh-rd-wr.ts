import type { Call } from './call.js';
import { checkSingleElement, fieldClass, fieldCode, findField, notValid, readable, written } from './metadata.js';
import { CPUID_CLASS, cpuidElement, cpuidValue, readTdField, tdFields } from './metadata-td.js';
import { readVpField, vpField, writeBase, writeVpField } from './metadata-vp.js';
import { refuse } from './refusal.js';
import { TDH } from './seamcall.js';
import type { Td } from './td.js';
import { associate } from './tdh-vp.js';

const isDebug = (td: Td): boolean => (td.configuration!.attributes & 1n) !== 0n;

// Microseconds that a host may choose for HP_LOCK_TIMEOUT (tdx_basic_defs.h).
const MIN_TIMEOUT = 10_000n;
const MAX_TIMEOUT = 100_000_000n;
const ALL = (1n << 64n) - 1n;

/** Version 1 also gives the id of the next field, whose order is not modelled. */
function checkOneElement({ version }: Call): void {
  if (version > 0) throw refuse('module.metadata.next');
}

/** TDH.MNG.RD and TDH.MNG.WR: a field of TDR or TDCS. RCX: TDR, RDX: field id, R8: value, R9: mask; R8 out: the value before. */
export function mngRdWr(call: Call): void {
  call.out.r8 = 0n;
  const td = call.td(call.rcx, 'RCX', false);
  call.checkState(td);
  const configuration = td.configuration!;
  const id = call.rdx;
  checkSingleElement(id);
  checkOneElement(call);
  const isCpuid = fieldClass(id) === CPUID_CLASS;
  const element = findField(tdFields(call.module.facts.features), id, isCpuid ? fieldCode(id) & 1 : fieldCode(id));
  const old = isCpuid
    ? cpuidValue(cpuidElement(configuration, fieldCode(id), call.module.facts.features))
    : readTdField(call, td, element.row, element.index);

  if (call.leaf === TDH.MNG_RD) {
    call.out.r8 = readable(element, isDebug(td), old);
    return;
  }
  const value = written(element, isDebug(td), old, call.r8, call.r9);
  if (element.row.name === 'HP_LOCK_TIMEOUT') setLockTimeout(call, td, value);
  call.out.r8 = old & element.row.access[isDebug(td) ? 'debug' : 'production'].read;
}

function setLockTimeout(call: Call, td: Td, microseconds: bigint): void {
  if (call.r9 !== ALL) throw refuse('module.metadata.mask');
  if (microseconds < MIN_TIMEOUT || microseconds > MAX_TIMEOUT) throw notValid();
  td.hpLockTimeout = (microseconds * BigInt(call.module.facts.nativeTscFrequency)) / 1_000_000n;
}

/** TDH.VP.RD and TDH.VP.WR: a field of a VCPU. RCX: TDVPR, RDX: field id, R8: value, R9: mask; R8 out: the value before. */
export function vpRdWr(call: Call): void {
  call.out.r8 = 0n;
  const write = call.leaf === TDH.VP_WR;
  const vcpu = call.vcpu(call.rcx, 'RCX', false);
  const { td } = vcpu;
  call.checkState(td);
  call.checkTdvps(vcpu);
  associate(vcpu, !write);
  checkSingleElement(call.rdx);
  checkOneElement(call);
  const element = vpField(call.rdx);
  const old = readVpField(call, vcpu, element);
  if (!write) {
    call.out.r8 = readable(element, isDebug(td), old);
    return;
  }
  const base = writeBase(element, old, isDebug(td));
  writeVpField(call, vcpu, element, written(element, isDebug(td), base, call.r8, call.r9));
  call.out.r8 = old & element.row.access[isDebug(td) ? 'debug' : 'production'].read;
}
