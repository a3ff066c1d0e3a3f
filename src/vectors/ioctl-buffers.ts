import { kvmTdxCmd } from '../wire/layout/tdx.js';
import { type Piece, PieceMemory } from '../wire/user-memory.js';

// biome-ignore lint/suspicious/noExplicitAny: a step of a vector; each operation reads the fields it has
export type Step = any;

/** Where the structures of a step lie in the memory of the vectors' process. */
export const ARGUMENT = 0x10_0000_0000n;
export const DATA = 0x20_0000_0000n;
/** Behind a structure there is nothing for this long. */
const NOTHING = 0x1000_0000;

/** Bytes at an address, of which only the first `mapped` are there. */
export interface UserBuffer {
  address: bigint;
  bytes: Uint8Array;
  mapped: number;
}

export function userBuffer(address: bigint, content: Uint8Array, mapped = content.length): UserBuffer {
  const bytes = new Uint8Array(Math.max(mapped, content.length));
  bytes.set(content);
  return { address, bytes, mapped };
}

/** The memory of a step: its buffers, live. */
export const memoryOf = (...buffers: readonly UserBuffer[]): PieceMemory =>
  new PieceMemory(
    buffers.flatMap(({ address, bytes, mapped }): Piece[] => [
      { address, bytes: bytes.subarray(0, mapped) },
      { address: address + BigInt(mapped), unreadable: NOTHING },
    ]),
  );

const big = (value: string | number | undefined): bigint => BigInt(value ?? 0);

/** `struct kvm_tdx_cmd` of a step. */
export const cmdBuffer = (step: Step, data: bigint): UserBuffer => {
  const fields = {
    id: Number(step.id) >>> 0,
    flags: Number(step.flags ?? 0) >>> 0,
    data,
    hw_error: big(step.hw_error),
  };
  return userBuffer(ARGUMENT, kvmTdxCmd.encode(fields), step.cmd_len ?? kvmTdxCmd.size);
};
