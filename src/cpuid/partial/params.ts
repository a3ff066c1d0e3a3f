import type { CompiledRules } from '../rules.js';
import { type Bits, known, ONE, ZERO } from './bits.js';
import type { PartialParams } from './evaluate.js';

/** TD_PARAMS (at least 1024 bytes) that is known whole. */
export function knownParams(rules: CompiledRules, params: Uint8Array, tdcxPages: number): PartialParams {
  const view = new DataView(params.buffer, params.byteOffset, params.byteLength);
  const read = (offset: number, size: number): bigint => {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(view.getUint8(offset + i));
    return value;
  };
  const fields = new Map<string, Bits>(
    rules.fields.map(({ name, offset, size }) => [name, known(offset < 0 ? BigInt(tdcxPages) : read(offset, size))]),
  );
  const start = rules.document.tdParams.cpuidConfig;
  const config = rules.entries.flatMap(({ config }) =>
    [0, 1, 2, 3].map((r) => (config < 0 ? ZERO : known(read(start + config * 16 + r * 4, 4)))),
  );
  const zeros = (from: number, to: number): Bits => (params.subarray(from, to + 1).every((b) => b === 0) ? ONE : ZERO);
  return { fields, config, zeros };
}
