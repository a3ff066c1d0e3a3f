// Instructions that CPL 3 executes without an exception, and yet not as CPL 0 would. In code their opcode is replaced by one
// that 64-bit mode does not have. A guest may copy its code, so the replacement itself says what it stands for.

/** Opcodes of one byte: PUSHF, POPF, MOV from and to a segment register; and those in their place. */
const ONE_BYTE = new Map([
  [0x9c, 0x06],
  [0x9d, 0x07],
  [0x8c, 0x0e],
  [0x8e, 0x16],
]);
/** Behind 0F: LAR, LSL, SYSCALL. */
const TWO_BYTES = new Map([
  [0x02, 0x04],
  [0x03, 0x0a],
  [0x05, 0x0c],
]);
const NAMES = new Set(['mov', 'pushf', 'pushfd', 'pushfq', 'popf', 'popfd', 'popfq', 'lar', 'lsl', 'syscall']);
const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67]);

const inverse = (map: ReadonlyMap<number, number>): ReadonlyMap<number, number> =>
  new Map([...map].map(([from, to]) => [to, from]));
const ONE_BYTE_BACK = inverse(ONE_BYTE);
const TWO_BYTES_BACK = inverse(TWO_BYTES);

/** `bytes` up to the opcode, with another one; undefined where the maps do not know it. */
function exchange(
  bytes: Uint8Array,
  one: ReadonlyMap<number, number>,
  two: ReadonlyMap<number, number>,
): number[] | undefined {
  let at = 0;
  while (PREFIXES.has(bytes[at] as number)) at++;
  if (((bytes[at] as number) & 0xf0) === 0x40) at++; // REX
  const escaped = bytes[at] === 0x0f;
  if (escaped) at++;
  const opcode = (escaped ? two : one).get(bytes[at] as number);
  return opcode === undefined ? undefined : [...bytes.subarray(0, at), opcode];
}

/** Mnemonics, in lower case, among which these are. */
export const mayReveal = (name: string): boolean => NAMES.has(name);

/** What an instruction's bytes up to its opcode are replaced by; undefined where it may stay. */
export const replacementOf = (bytes: Uint8Array): number[] | undefined => exchange(bytes, ONE_BYTE, TWO_BYTES);

/** What such a replacement stands for, up to the opcode. */
export const replacedBy = (bytes: Uint8Array): number[] | undefined => exchange(bytes, ONE_BYTE_BACK, TWO_BYTES_BACK);
