import { bytes, record, u64 } from './check.js';
import { cpuidEntries } from './check-cpuid.js';
import type { TdxInitVm } from './vm.js';

const MEASUREMENT_BYTES = 48;

/** A checked copy of the argument of KVM_TDX_INIT_VM, the measurement fields filled with zeros where they were left out. */
export function initVmParams(params: unknown): Required<TdxInitVm> {
  const given = record('params', params);
  const measurement = (field: 'mrConfigId' | 'mrOwner' | 'mrOwnerConfig'): Uint8Array => {
    const value = given[field];
    return value === undefined
      ? new Uint8Array(MEASUREMENT_BYTES)
      : Uint8Array.from(bytes(`params.${field}`, value, MEASUREMENT_BYTES));
  };
  return {
    attributes: u64('params.attributes', given['attributes']),
    xfam: u64('params.xfam', given['xfam']),
    mrConfigId: measurement('mrConfigId'),
    mrOwner: measurement('mrOwner'),
    mrOwnerConfig: measurement('mrOwnerConfig'),
    cpuid: cpuidEntries('params.cpuid', given['cpuid']),
  };
}
