import { type Statistic, TYPE, UNIT } from './descriptors.js';

const HEADER = 24;
/** KVM_STATS_NAME_SIZE: of the id, and of each statistic's name, with the zero at its end. */
const NAME = 48;
const DESCRIPTOR = 16 + NAME;

/**
 * What a descriptor of KVM_GET_STATS_FD gives to read (Documentation/virt/kvm/api.rst 4.133, kvm_stats_read()): a header,
 * the id, a descriptor for each statistic, the values. The model counts nothing: every value is 0.
 */
export function statisticsFile(id: string, statistics: readonly Statistic[]): Uint8Array {
  const data = HEADER + NAME + statistics.length * DESCRIPTOR;
  const values = statistics.reduce((sum, { size }) => sum + size, 0);
  const file = Buffer.alloc(data + 8 * values);
  for (const [i, field] of [0, NAME, statistics.length, HEADER, HEADER + NAME, data].entries())
    file.writeUInt32LE(field, 4 * i);
  file.write(id.slice(0, NAME - 1), HEADER, 'latin1');
  let offset = 0;
  for (const [i, { name, type, unit, exponent, size }] of statistics.entries()) {
    const at = HEADER + NAME + i * DESCRIPTOR;
    file.writeUInt32LE(TYPE[type] | (UNIT[unit] << 4), at);
    file.writeInt16LE(exponent, at + 4);
    file.writeUInt16LE(size, at + 6);
    file.writeUInt32LE(offset, at + 8);
    file.write(name, at + 16, 'latin1');
    offset += 8 * size;
  }
  return file;
}
