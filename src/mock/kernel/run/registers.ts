import type { VpEnterArgs } from '../../module/seamcall.js';

const NAMES = ['rcx', 'rdx', 'rbx', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const;

/** struct tdx_module_args as vcpu_tdx keeps it: what TDH.VP.ENTER left, and what the next one passes on to the guest. */
export type Registers = Record<(typeof NAMES)[number], bigint>;

export const zeroRegisters = (): Registers =>
  Object.fromEntries(NAMES.map((name) => [name, 0n])) as unknown as Registers;

/** Takes over what TDH.VP.ENTER left. */
export function takeRegisters(into: Registers, from: Required<Pick<VpEnterArgs, (typeof NAMES)[number]>>): void {
  for (const name of NAMES) into[name] = from[name];
}

/** A register in the lower half of a C int: what KVM makes of a u64 that it stores in one. */
export const toInt = (register: bigint): number => Number(BigInt.asIntN(32, register));

/** A register's lowest `size` bytes, 1 to 8, as they lie in memory. */
export function toBytes(register: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let word = toInt(register);
  for (let i = 0; i < size; i++, word >>= 8) {
    if (i === 4) word = toInt(register >> 32n);
    bytes[i] = word;
  }
  return bytes;
}

/** At most 8 bytes as a register, zero-extended. */
export function fromBytes(bytes: Uint8Array): bigint {
  let register = 0n;
  for (const [i, byte] of bytes.entries()) register |= BigInt(byte) << BigInt(8 * i);
  return register;
}
