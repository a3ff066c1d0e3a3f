import type { TdHostFacts } from '../host-facts.js';
import { TSC_KHZ_RANGE, TSC_UNIT_KHZ } from '../tsc.js';
import { type InitVmRequest, type Violation, violation } from './violation.js';

const at = { field: 'tscKhz' } as const;
const isInRange = (khz: number) => khz >= TSC_KHZ_RANGE.min && khz <= TSC_KHZ_RANGE.max;
const text = (khz: number) => `${khz} kHz`;

/** What becomes of a TSC frequency in TD_PARAMS.TSC_FREQUENCY, 16 bits in units of 25 MHz. */
export function checkTsc({ tscKhz }: InitVmRequest, host: TdHostFacts): Violation[] {
  const khz = tscKhz === 0 ? host.tscKhz : tscKhz;
  if (khz === 0) return [];
  const whose = tscKhz === 0 ? "the host's TSC frequency" : 'the TSC frequency';
  const units = Math.floor(khz / TSC_UNIT_KHZ);
  if (units > 0xffff) {
    const wrapped = (units & 0xffff) * TSC_UNIT_KHZ;
    const rule = isInRange(wrapped) ? 'trap.tsc-wraps' : 'module.mng-init.tsc-frequency';
    return [violation(rule, 'error', at, `${whose}, ${text(khz)}, wraps and reaches the module as ${text(wrapped)}`)];
  }
  const sent = units * TSC_UNIT_KHZ;
  if (!isInRange(sent)) {
    const what = `${whose} is ${text(khz)}`;
    return [violation('module.mng-init.tsc-frequency', 'error', at, what)];
  }
  if (sent === khz) return [];
  const fix = `Choose ${sent} or ${sent + TSC_UNIT_KHZ > TSC_KHZ_RANGE.max ? sent - TSC_UNIT_KHZ : sent + TSC_UNIT_KHZ}`;
  return [
    violation(
      'trap.tsc-rounded',
      tscKhz === 0 ? 'note' : 'warning',
      at,
      `${whose}, ${text(khz)}, becomes ${text(sent)} in the TD`,
      { fix },
    ),
  ];
}
