/** TD_PARAMS.TSC_FREQUENCY counts 25 MHz (TDX_TSC_KHZ_TO_25MHZ of the kernel's asm/tdx.h). */
export const TSC_UNIT_KHZ = 25_000;

/** TD_PARAMS.TSC_FREQUENCY is 4 to 400 (tdh_mng_init.c: VIRT_TSC_FREQUENCY_MIN, VIRT_TSC_FREQUENCY_MAX). */
export const TSC_KHZ_RANGE = { min: 4 * TSC_UNIT_KHZ, max: 400 * TSC_UNIT_KHZ } as const;

/**
 * The frequency that a TD gets for one that is asked for: rounded down to 25 MHz, as KVM passes it on. Out of range it stays
 * as it is, to be refused.
 */
export const tdTscKhz = (khz: number): number =>
  khz < TSC_KHZ_RANGE.min || khz > TSC_KHZ_RANGE.max ? khz : khz - (khz % TSC_UNIT_KHZ);
