export interface TdParamsFields {
  attributes?: number;
  maxVcpus?: number;
  /** EPTP_CONTROLS, 0x1e: 4 levels, 0x26: 5 levels. */
  eptp?: number;
  /** CONFIG_FLAGS. */
  flags?: number;
  /** CPUID_CONFIG[9].EAX, leaf 0x80000008. */
  maxPa?: number;
}

/** The 1024 bytes of the TD_PARAMS that vectors name "params": XFAM 3, TSC_FREQUENCY 40, and these fields. */
export function vectorTdParams({
  attributes = 0,
  maxVcpus = 1,
  eptp = 0x1e,
  flags = 0,
  maxPa = 0,
}: TdParamsFields): Uint8Array {
  const bytes = new Uint8Array(1024);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, attributes, true);
  view.setUint32(8, 3, true);
  view.setUint16(16, maxVcpus, true);
  view.setUint32(24, eptp, true);
  view.setUint32(32, flags, true);
  view.setUint16(40, 40, true);
  view.setUint32(256 + 16 * 9, maxPa, true);
  return bytes;
}
