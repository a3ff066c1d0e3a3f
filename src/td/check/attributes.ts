import { TD_ATTRIBUTES } from '../attributes.js';
import { bitNumbers, describeBits, hex, maskOf } from '../bits.js';
import type { TdHostFacts } from '../host-facts.js';
import { type InitVmRequest, type Violation, violation } from './violation.js';

const at = { field: 'attributes' } as const;
const has = (attributes: bigint, name: keyof typeof TD_ATTRIBUTES) => (attributes & maskOf(TD_ATTRIBUTES[name])) !== 0n;

/** ATTRIBUTES against supported_attrs, and the combinations that the module excludes. */
export function checkAttributes({ attributes }: InitVmRequest, { capabilities }: TdHostFacts): Violation[] {
  const found: Violation[] = [];
  const supported = capabilities.supportedAttrs;
  const unsupported = attributes & ~supported;
  if (unsupported !== 0n) {
    const names = describeBits(TD_ATTRIBUTES, unsupported);
    const offer = supported === 0n ? 'no attribute' : describeBits(TD_ATTRIBUTES, supported);
    const what = `attributes ${hex(attributes)} has ${names}, which this host does not support (supported_attrs ${hex(supported)})`;
    const fix = `Clear ${bitNumbers(unsupported).length === 1 ? 'it' : 'them'}: this host offers ${offer}`;
    found.push(violation('kvm.init-vm.attributes-supported', 'error', at, what, { fix }));
  }
  const excluded = (['DEBUG', 'PERFMON'] as const).filter((name) => has(attributes, name));
  if (has(attributes, 'MIGRATABLE') && excluded.length > 0) {
    const what = `attributes ${hex(attributes)} combines MIGRATABLE with ${excluded.join(' and ')}`;
    found.push(violation('module.mng-init.migratable-exclusions', 'error', at, what));
  }
  if (has(attributes, 'ICSSD') && has(attributes, 'PERFMON')) {
    const what = `attributes ${hex(attributes)} combines ICSSD with PERFMON`;
    found.push(violation('module.mng-init.icssd-perfmon', 'error', at, what));
  }
  if (!has(attributes, 'SEPT_VE_DISABLE')) {
    const offered = has(supported, 'SEPT_VE_DISABLE');
    const fix = offered ? undefined : 'Run a guest that does without: this host does not offer SEPT_VE_DISABLE';
    const what = `attributes ${hex(attributes)} lacks SEPT_VE_DISABLE (bit 28)`;
    found.push(violation('trap.sept-ve-disable', 'warning', at, what, fix === undefined ? {} : { fix }));
  }
  return found;
}
