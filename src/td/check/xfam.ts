import type { RuleId } from '../../rulebook/index.js';
import { bitNumbers, describeBits, hex, maskOf } from '../bits.js';
import type { TdHostFacts } from '../host-facts.js';
import { XFAM_FEATURES } from '../xfam.js';
import { type InitVmRequest, type Violation, violation } from './violation.js';

const at = { field: 'xfam' } as const;

// Sets of bits that the module takes whole or not at all.
const GROUPS: readonly { rule: RuleId; name: string; bits: bigint }[] = [
  { rule: 'module.mng-init.xfam-avx512', name: 'AVX-512', bits: 0xe0n },
  { rule: 'module.mng-init.xfam-cet', name: 'CET', bits: maskOf(XFAM_FEATURES.CET) },
  { rule: 'module.mng-init.xfam-amx', name: 'AMX', bits: maskOf(XFAM_FEATURES.AMX) },
];

const AVX = maskOf(XFAM_FEATURES.AVX);

/** XFAM against supported_xfam, and the groups that the module wants whole. KVM adds x87 and SSE itself. */
export function checkXfam({ xfam }: InitVmRequest, { capabilities }: TdHostFacts): Violation[] {
  const found: Violation[] = [];
  const supported = capabilities.supportedXfam;
  const unsupported = xfam & ~supported;
  if (unsupported !== 0n) {
    const names = describeBits(XFAM_FEATURES, unsupported);
    const what = `xfam ${hex(xfam)} has ${names}, which this host does not support (supported_xfam ${hex(supported)})`;
    const fix = `Clear ${bitNumbers(unsupported).length === 1 ? 'it' : 'them'}: this host offers ${describeBits(XFAM_FEATURES, supported)}`;
    found.push(violation('kvm.init-vm.xfam-supported', 'error', at, what, { fix }));
  }
  for (const { rule, name, bits } of GROUPS) {
    const set = xfam & bits;
    if (set !== 0n && set !== bits) {
      const missing = describeBits(XFAM_FEATURES, bits & ~set);
      const what = `xfam ${hex(xfam)} has ${describeBits(XFAM_FEATURES, set)} of ${name}, but not ${missing}`;
      found.push(violation(rule, 'error', at, what));
    }
  }
  if ((xfam & GROUPS[0]!.bits) === GROUPS[0]!.bits && (xfam & AVX) === 0n) {
    const what = `xfam ${hex(xfam)} has AVX-512 without AVX (bit 2)`;
    found.push(violation('module.mng-init.xfam-avx512', 'error', at, what));
  }
  return found;
}
