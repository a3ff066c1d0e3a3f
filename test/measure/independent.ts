// MRTD written down straight from its definition, to hold against the fast one: no code in common.
import { createHash, type Hash } from 'node:crypto';

export interface Pages {
  gpa: number;
  size: number;
  data: Uint8Array;
  measure: boolean;
}

function block(hash: Hash, name: string, gpa: number): void {
  const bytes = Buffer.alloc(128);
  bytes.write(name, 0, 'latin1');
  bytes.writeBigUInt64LE(BigInt(gpa), 16);
  hash.update(bytes);
}

function extendPage(hash: Hash, gpa: number, page: Uint8Array): void {
  for (let chunk = 0; chunk < 4096; chunk += 256) {
    block(hash, 'MR.EXTEND', gpa + chunk);
    hash.update(page.slice(chunk, chunk + 256));
  }
}

export function mrtdByDefinition(sections: readonly Pages[], order: 'one-pass' | 'two-pass'): string {
  const hash = createHash('sha384');
  for (const { gpa, size, data, measure } of sections) {
    const memory = Buffer.alloc(size);
    memory.set(data);
    const late: (() => void)[] = [];
    for (let offset = 0; offset < size; offset += 4096) {
      block(hash, 'MEM.PAGE.ADD', gpa + offset);
      if (!measure) continue;
      const extend = () => extendPage(hash, gpa + offset, memory.subarray(offset, offset + 4096));
      if (order === 'one-pass') extend();
      else late.push(extend);
    }
    for (const extend of late) extend();
  }
  return hash.digest('hex');
}
