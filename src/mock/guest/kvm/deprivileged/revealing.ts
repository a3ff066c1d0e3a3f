/** In place of the first byte of an instruction: CPL 3 gets #GP for it, KVM's emulator leaves at CPL 0. */
export const HLT = 0xf4;

const NAMES = new Set(['pushf', 'pushfd', 'pushfq', 'popf', 'popfd', 'popfq', 'lar', 'lsl', 'verr', 'verw', 'syscall']);
const PREFIXES = new Set([0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67]);
const isRex = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xf0) === 0x40;
/** MOV from a segment register, and to one. */
const SEGMENT_MOVES = [0x8c, 0x8e];

/** Mnemonics among which these are. */
export const mayReveal = (name: string): boolean => name === 'mov' || NAMES.has(name);

/**
 * Whether CPL 3 executes this 64-bit instruction without an exception, and yet not as CPL 0 would: it shows or changes
 * flags that privilege is needed for, this host's selectors or descriptors, or enters this host's idea of a system call.
 */
export function isRevealing(name: string, bytes: Uint8Array): boolean {
  if (NAMES.has(name)) return true;
  let at = 0;
  while (PREFIXES.has(bytes[at] as number)) at++;
  if (isRex(bytes[at])) at++;
  return name === 'mov' && SEGMENT_MOVES.includes(bytes[at] as number);
}
