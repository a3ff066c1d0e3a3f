// Builds TDVF images for tests, from the layout in the TDVF design guide and independently of the parser.

export interface SectionSpec {
  dataOffset?: number;
  rawSize?: number;
  gpa?: bigint;
  memorySize?: bigint;
  type: number;
  attributes?: number;
}

export interface TdvfSpec {
  /** Bytes. */
  size?: number;
  sections?: SectionSpec[];
  /** How the metadata is found. */
  pointer?: 'guid-table' | 'legacy-offset' | 'both' | 'none';
  version?: number;
  length?: number;
  count?: number;
}

export const SIZE = 0x10000;
export const BFV: SectionSpec = { type: 0, rawSize: SIZE, gpa: 0xffff0000n, memorySize: 0x10000n, attributes: 1 };
export const HOB: SectionSpec = { type: 2, gpa: 0x9000n, memorySize: 0x1000n };
export const TEMP: SectionSpec = { type: 3, gpa: 0x10000n, memorySize: 0x4000n };

const guidBytes = (guid: string): Buffer => {
  const [a, b, c, d, e] = guid.split('-').map((part) => Buffer.from(part, 'hex')) as [
    Buffer,
    Buffer,
    Buffer,
    Buffer,
    Buffer,
  ];
  return Buffer.concat([a.reverse(), b.reverse(), c.reverse(), d, e]);
};

/** Bytes from the start of the image to the descriptor. */
export const descriptorOf = (size: number): number => size - 0x800;
/** Bytes from the start of the image to entry `index`. */
export const entryOf = (size: number, index: number): number => descriptorOf(size) + 16 + 32 * index;

export function buildTdvf(spec: TdvfSpec = {}): Buffer {
  const { size = SIZE, sections = [BFV, HOB, TEMP], pointer = 'guid-table' } = spec;
  const image = Buffer.alloc(size, 0x90);
  const descriptor = descriptorOf(size);
  image.write('TDVF', descriptor);
  image.writeUInt32LE(spec.length ?? 16 + 32 * sections.length, descriptor + 4);
  image.writeUInt32LE(spec.version ?? 1, descriptor + 8);
  image.writeUInt32LE(spec.count ?? sections.length, descriptor + 12);
  for (const [index, section] of sections.entries()) {
    const at = entryOf(size, index);
    image.writeUInt32LE(section.dataOffset ?? 0, at);
    image.writeUInt32LE(section.rawSize ?? 0, at + 4);
    image.writeBigUInt64LE(section.gpa ?? 0n, at + 8);
    image.writeBigUInt64LE(section.memorySize ?? 0n, at + 16);
    image.writeUInt32LE(section.type, at + 24);
    image.writeUInt32LE(section.attributes ?? 0, at + 28);
  }
  if (pointer === 'guid-table' || pointer === 'both') {
    // An entry of another kind before and after the one that matters.
    const other = Buffer.concat([
      Buffer.from([1, 2, 3]),
      Buffer.from([21, 0]),
      guidBytes('4c2eb361-7d9b-4cc3-8081-127c90d3d294'),
    ]);
    const offset = Buffer.alloc(4);
    offset.writeUInt32LE(size - descriptor);
    const tdx = Buffer.concat([offset, Buffer.from([22, 0]), guidBytes('e47a6535-984a-4798-865e-4685a7bf8ec2')]);
    const length = Buffer.from([18 + 22 + 2 * 21, 0]);
    const table = Buffer.concat([other, tdx, other, length, guidBytes('96b582de-1fb2-45f7-baea-a366c55a082d')]);
    table.copy(image, size - 0x20 - table.length);
  }
  if (pointer === 'legacy-offset' || pointer === 'both') image.writeUInt32LE(descriptor, size - 0x20);
  return image;
}
