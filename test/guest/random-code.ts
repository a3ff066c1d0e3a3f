// Random user-level instructions, by a seed. Encodings are made here by hand, so that what decodes them is under test too.

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** mulberry32. */
  u32(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  }

  below(n: number): number {
    return this.u32() % n;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  bytes(n: number): number[] {
    return Array.from({ length: n }, () => this.below(256));
  }

  /** Values near the edges of every width, and any. */
  value(): bigint {
    const any = (BigInt(this.u32()) << 32n) | BigInt(this.u32());
    if (this.chance(40)) return any;
    const edge = 1n << BigInt(this.pick([0, 4, 7, 8, 15, 16, 31, 32, 63]));
    const near = edge + BigInt(this.below(5) - 2);
    return BigInt.asUintN(64, this.chance(30) ? -near : near);
  }
}

/** How an instruction is made. Operand sizes are chosen where it has them. */
interface Template {
  /** Without prefixes of size: 0F escapes and the opcode. */
  opcode: readonly number[];
  /** Mandatory prefix, before REX. */
  prefix?: number;
  modrm?: boolean;
  /** Values of ModRM.reg that it may have; any where left out. */
  reg?: readonly number[];
  /** Bytes of immediate; 'z': 2 with 66, else 4. */
  immediate?: 1 | 2 | 'z';
  /** Sizes that 66 and REX.W give. */
  sizes?: readonly (16 | 32 | 64)[];
  memoryOnly?: boolean;
  registerOnly?: boolean;
  lockable?: boolean;
}

const WIDE = [16, 32, 64] as const;
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n);

const ARITHMETIC: Template[] = range(0, 7).flatMap((n) => [
  { opcode: [8 * n], modrm: true, lockable: n !== 7 },
  { opcode: [8 * n + 1], modrm: true, sizes: WIDE, lockable: n !== 7 },
  { opcode: [8 * n + 2], modrm: true },
  { opcode: [8 * n + 3], modrm: true, sizes: WIDE },
  { opcode: [8 * n + 4], immediate: 1 },
  { opcode: [8 * n + 5], immediate: 'z', sizes: WIDE },
]);
const GROUPS: Template[] = [
  { opcode: [0x80], modrm: true, immediate: 1 },
  { opcode: [0x81], modrm: true, immediate: 'z', sizes: WIDE },
  { opcode: [0x83], modrm: true, immediate: 1, sizes: WIDE },
  { opcode: [0xf6], modrm: true, reg: [0, 1], immediate: 1 },
  { opcode: [0xf7], modrm: true, reg: [0, 1], immediate: 'z', sizes: WIDE },
  { opcode: [0xf6], modrm: true, reg: [2, 3, 4, 5, 6, 7] },
  { opcode: [0xf7], modrm: true, reg: [2, 3, 4, 5, 6, 7], sizes: WIDE },
  { opcode: [0xfe], modrm: true, reg: [0, 1], lockable: true },
  { opcode: [0xff], modrm: true, reg: [0, 1], sizes: WIDE, lockable: true },
  { opcode: [0x84], modrm: true },
  { opcode: [0x85], modrm: true, sizes: WIDE },
  { opcode: [0x69], modrm: true, immediate: 'z', sizes: WIDE },
  { opcode: [0x6b], modrm: true, immediate: 1, sizes: WIDE },
  { opcode: [0x0f, 0xaf], modrm: true, sizes: WIDE },
];
const MOVES: Template[] = [
  { opcode: [0x86], modrm: true },
  { opcode: [0x87], modrm: true, sizes: WIDE },
  { opcode: [0x88], modrm: true },
  { opcode: [0x89], modrm: true, sizes: WIDE },
  { opcode: [0x8a], modrm: true },
  { opcode: [0x8b], modrm: true, sizes: WIDE },
  { opcode: [0x8d], modrm: true, sizes: WIDE, memoryOnly: true },
  { opcode: [0x63], modrm: true, sizes: [32, 64] },
  { opcode: [0xc6], modrm: true, reg: [0], immediate: 1 },
  { opcode: [0xc7], modrm: true, reg: [0], immediate: 'z', sizes: WIDE },
  ...[0xb6, 0xb7, 0xbe, 0xbf].map((op): Template => ({ opcode: [0x0f, op], modrm: true, sizes: WIDE })),
  ...range(0x40, 0x4f).map((op): Template => ({ opcode: [0x0f, op], modrm: true, sizes: WIDE })),
  ...range(0x90, 0x9f).map((op): Template => ({ opcode: [0x0f, op], modrm: true })),
  ...range(0xc8, 0xcf).map((op): Template => ({ opcode: [0x0f, op], sizes: [32, 64] })),
  { opcode: [0x0f, 0xc3], modrm: true, sizes: [32, 64], memoryOnly: true },
  { opcode: [0x0f, 0xc7], modrm: true, reg: [1], sizes: [32, 64], memoryOnly: true, lockable: true },
  { opcode: [0x0f, 0x38, 0xf0], modrm: true, sizes: WIDE, memoryOnly: true },
  { opcode: [0x0f, 0x38, 0xf1], modrm: true, sizes: WIDE, memoryOnly: true },
  ...[0xb0, 0xc0].map((op): Template => ({ opcode: [0x0f, op], modrm: true, lockable: true })),
  ...[0xb1, 0xc1].map((op): Template => ({ opcode: [0x0f, op], modrm: true, sizes: WIDE, lockable: true })),
  ...range(0x50, 0x5f).map((opcode): Template => ({ opcode: [opcode], sizes: [16, 64] })),
  { opcode: [0x6a], immediate: 1 },
  { opcode: [0x68], immediate: 'z', sizes: [16, 32] },
  { opcode: [0xff], modrm: true, reg: [6], sizes: [16, 64] },
  { opcode: [0x8f], modrm: true, reg: [0], sizes: [16, 64] },
  { opcode: [0x98], sizes: WIDE },
  { opcode: [0x99], sizes: WIDE },
  ...[0xd7, 0xc9, 0xf5, 0xf8, 0xf9, 0xfc, 0xfd, 0x9e, 0x9f, 0x90].map((op): Template => ({ opcode: [op] })),
];
const SHIFTS: Template[] = [
  { opcode: [0xc0], modrm: true, immediate: 1 },
  { opcode: [0xc1], modrm: true, immediate: 1, sizes: WIDE },
  { opcode: [0xd0], modrm: true },
  { opcode: [0xd1], modrm: true, sizes: WIDE },
  { opcode: [0xd2], modrm: true },
  { opcode: [0xd3], modrm: true, sizes: WIDE },
  ...[0xa4, 0xac].map((op): Template => ({ opcode: [0x0f, op], modrm: true, immediate: 1, sizes: [32, 64] })),
  ...[0xa5, 0xad].map((op): Template => ({ opcode: [0x0f, op], modrm: true, sizes: [32, 64] })),
];
const BITS: Template[] = [
  ...[0xa3, 0xab, 0xb3, 0xbb].map(
    (op): Template => ({ opcode: [0x0f, op], modrm: true, sizes: WIDE, registerOnly: true }),
  ),
  { opcode: [0x0f, 0xba], modrm: true, reg: [4, 5, 6, 7], immediate: 1, sizes: WIDE },
  ...[0xbc, 0xbd].map((op): Template => ({ opcode: [0x0f, op], modrm: true, sizes: [64] })),
  ...[0xb8, 0xbc, 0xbd].map((op): Template => ({ prefix: 0xf3, opcode: [0x0f, op], modrm: true, sizes: WIDE })),
  { prefix: 0x66, opcode: [0x0f, 0x38, 0xf6], modrm: true, sizes: [32, 64] },
  { prefix: 0xf3, opcode: [0x0f, 0x38, 0xf6], modrm: true, sizes: [32, 64] },
];
const STRINGS: Template[] = [0xa4, 0xa6, 0xaa, 0xac, 0xae].flatMap((op): Template[] =>
  [undefined, 0xf3, ...(op === 0xa6 || op === 0xae ? [0xf2] : [])].flatMap((prefix): Template[] => [
    { opcode: [op], ...(prefix === undefined ? {} : { prefix }) },
    { opcode: [op + 1], sizes: WIDE, ...(prefix === undefined ? {} : { prefix }) },
  ]),
);
/** Loads and stores, and operations on whole registers; XMM0 to XMM3. */
const SSE: Template[] = [
  ...[0x10, 0x11, 0x28, 0x29, 0x54, 0x55, 0x56, 0x57, 0x14, 0x15].flatMap((op): Template[] => [
    { opcode: [0x0f, op], modrm: true },
    { prefix: 0x66, opcode: [0x0f, op], modrm: true },
  ]),
  ...[0x10, 0x11].flatMap((op): Template[] => [
    { prefix: 0xf3, opcode: [0x0f, op], modrm: true },
    { prefix: 0xf2, opcode: [0x0f, op], modrm: true },
  ]),
  ...[0x12, 0x16].map((op): Template => ({ opcode: [0x0f, op], modrm: true })),
  ...[0x13, 0x17].map((op): Template => ({ opcode: [0x0f, op], modrm: true, memoryOnly: true })),
  ...[0x6f, 0x7f].map((op): Template => ({ prefix: 0xf3, opcode: [0x0f, op], modrm: true })),
  { prefix: 0xf3, opcode: [0x0f, 0x7e], modrm: true },
  { prefix: 0x66, opcode: [0x0f, 0xd6], modrm: true },
  ...[0x6e, 0x7e].map((op): Template => ({ prefix: 0x66, opcode: [0x0f, op], modrm: true, sizes: [32, 64] })),
  ...[...range(0x60, 0x62), ...range(0x64, 0x66), ...range(0x68, 0x6a), 0x6c, 0x6d, 0x6f, 0x7f, ...range(0x74, 0x76)]
    .concat([0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xda, 0xdb, 0xde, 0xdf, 0xe1, 0xe2, 0xea, 0xeb, 0xee, 0xef])
    .concat([0xf1, 0xf2, 0xf3, 0xf4, ...range(0xf8, 0xfe)])
    .map((op): Template => ({ prefix: 0x66, opcode: [0x0f, op], modrm: true })),
  ...[0x66, 0xf2, 0xf3].map((prefix): Template => ({ prefix, opcode: [0x0f, 0x70], modrm: true, immediate: 1 })),
  { opcode: [0x0f, 0xc6], modrm: true, immediate: 1 },
  { prefix: 0x66, opcode: [0x0f, 0xc6], modrm: true, immediate: 1 },
  { prefix: 0x66, opcode: [0x0f, 0x71], modrm: true, reg: [2, 4, 6], immediate: 1, registerOnly: true },
  { prefix: 0x66, opcode: [0x0f, 0x72], modrm: true, reg: [2, 4, 6], immediate: 1, registerOnly: true },
  { prefix: 0x66, opcode: [0x0f, 0x73], modrm: true, reg: [2, 3, 6, 7], immediate: 1, registerOnly: true },
  { prefix: 0x66, opcode: [0x0f, 0xd7], modrm: true, registerOnly: true },
];

export const GROUPS_OF_CODE: Readonly<Record<string, readonly Template[]>> = {
  arithmetic: [...ARITHMETIC, ...GROUPS],
  moves: MOVES,
  shifts: SHIFTS,
  bits: BITS,
  strings: STRINGS,
  sse: SSE,
};

/** Width of the code segment. */
export type CodeBits = 32 | 64;

/** ModRM, SIB and displacement. Memory is mostly around what RBX, RBP, RSI, RDI or RSP point to. */
function modrm(
  random: Random,
  template: Template,
  reg: number,
  codeBits: CodeBits = 64,
): { bytes: number[]; rex: number } {
  const memory = template.memoryOnly || (!template.registerOnly && random.chance(50));
  if (!memory) {
    const rm = random.below(codeBits === 64 ? 16 : 8);
    return { bytes: [0xc0 | (reg << 3) | (rm & 7)], rex: rm >> 3 };
  }
  const displacement = random.chance(10) ? random.below(128) : random.below(8) * 16;
  const kind = random.below(10);
  if (kind === 0) {
    const at = 0xc000 + (random.below(0x2000 - 16) & (random.chance(30) ? -1 : ~15));
    return { bytes: [(reg << 3) | 4, 0x25, at & 0xff, at >> 8, 0, 0], rex: 0 };
  }
  if (kind <= 3) {
    const base = random.pick([3, 4, 5, 6, 7]); // R9 is the index, or EDX
    return {
      bytes: [0x44 | (reg << 3), (random.below(4) << 6) | ((codeBits === 64 ? 1 : 2) << 3) | base, displacement],
      rex: codeBits === 64 ? 2 : 0,
    };
  }
  return { bytes: [0x40 | (reg << 3) | random.pick([3, 5, 6, 7]), displacement], rex: 0 };
}

/** One instruction. */
export function instruction(random: Random, template: Template, codeBits: CodeBits = 64): number[] {
  const size = template.sizes === undefined ? 32 : random.pick(template.sizes);
  const regNumber = template.reg === undefined ? random.below(codeBits === 64 ? 16 : 8) : random.pick(template.reg);
  const form = template.modrm ? modrm(random, template, regNumber & 7, codeBits) : { bytes: [], rex: 0 };
  const rex = (size === 64 ? 8 : 0) | (template.reg === undefined ? (regNumber >> 3) << 2 : 0) | form.rex;
  const memory = template.modrm && (form.bytes[0] as number) < 0xc0;
  const length = template.immediate === 'z' ? (size === 16 ? 2 : 4) : (template.immediate ?? 0);
  return [
    // In 32-bit code REX is another instruction, and what would be 64 bits wide is 32.
    ...(template.lockable && memory && random.chance(20) ? [0xf0] : []),
    ...(size === 16 ? [0x66] : []),
    ...(template.prefix === undefined ? [] : [template.prefix]),
    ...(codeBits === 64 && (rex !== 0 || random.chance(30)) ? [0x40 | rex] : []),
    ...template.opcode,
    ...form.bytes,
    ...random.bytes(length),
  ];
}

/** The VEX-encoded ones: opcode map, prefix, opcode and, where it says which instruction it is, ModRM.reg. */
const VEX: readonly (readonly [map: number, pp: number, opcode: number, reg?: number])[] = [
  [2, 0, 0xf2],
  [2, 0, 0xf7],
  [2, 0, 0xf5],
  [2, 3, 0xf5],
  [2, 2, 0xf5],
  [2, 3, 0xf6],
  [2, 1, 0xf7],
  [2, 2, 0xf7],
  [2, 3, 0xf7],
  [3, 3, 0xf0],
  [2, 0, 0xf3, 1],
  [2, 0, 0xf3, 2],
  [2, 0, 0xf3, 3],
];

export function vexInstruction(random: Random): number[] {
  const [map, pp, opcode, fixed] = random.pick(VEX);
  const reg = fixed ?? random.below(16);
  const form = modrm(random, { opcode: [] }, reg & 7);
  const [r, x, b] = [fixed === undefined ? reg >> 3 : 0, (form.rex >> 1) & 1, form.rex & 1];
  const vvvv = opcode === 0xf0 ? 0 : random.below(16);
  return [
    0xc4,
    ((1 - r) << 7) | ((1 - x) << 6) | ((1 - b) << 5) | map,
    (random.below(2) << 7) | ((15 - vvvv) << 3) | pp,
    opcode,
    ...form.bytes,
    ...(map === 3 ? random.bytes(1) : []),
  ];
}
