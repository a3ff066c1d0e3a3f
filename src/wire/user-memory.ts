import { efault } from '../mock/kernel/user.js';

/** Behind the last address of a process with 4-level page tables: access_ok(). */
const USER_END = (1n << 47n) - 4096n;

/** Memory of the caller by address. Both throw a Refusal (EFAULT) where nothing is mapped. */
export interface UserMemory {
  /** copy_from_user(). */
  read(address: bigint, length: number): Uint8Array;
  /** As read(), and of what was written as far as it is known. */
  peek(address: bigint, length: number): Uint8Array;
  /** copy_to_user(): what is mapped is written before the rest fails. */
  write(address: bigint, data: Uint8Array): void;
}

/** A part of the caller's memory: its bytes, or how many there are where they cannot be read. */
export type Piece = { address: bigint; bytes: Uint8Array } | { address: bigint; unreadable: number };

/** Bytes that the caller has to put into its memory. */
export interface Write {
  address: bigint;
  bytes: Uint8Array;
}

const lengthOf = (piece: Piece): number => ('bytes' in piece ? piece.bytes.length : piece.unreadable);

/**
 * The caller's memory as far as a call brought it along. What is read must be in a readable piece. What is written goes
 * into the pieces, so that it is read back, and onto a list; whether memory of which nothing came along can be written is
 * only known where it is.
 */
export class PieceMemory implements UserMemory {
  readonly writes: Write[] = [];

  constructor(readonly pieces: readonly Piece[]) {}

  #at(address: bigint): Piece | undefined {
    return this.pieces.find((piece) => piece.address <= address && address < piece.address + BigInt(lengthOf(piece)));
  }

  read(address: bigint, length: number): Uint8Array {
    const data = new Uint8Array(length);
    for (let at = 0; at < length; ) {
      const piece = this.#at(address + BigInt(at));
      if (!piece || !('bytes' in piece)) return efault();
      const part = piece.bytes.subarray(Number(address + BigInt(at) - piece.address), piece.bytes.length);
      data.set(part.subarray(0, length - at), at);
      at += part.length;
    }
    return data;
  }

  /** What the caller will find, also where only a write has been. @throws Refusal where nobody knows. */
  peek(address: bigint, length: number): Uint8Array {
    const within = (write: Write) =>
      write.address <= address && address + BigInt(length) <= write.address + BigInt(write.bytes.length);
    const write = this.writes.findLast(within);
    if (!write) return this.read(address, length);
    const at = Number(address - write.address);
    return write.bytes.slice(at, at + length);
  }

  write(address: bigint, data: Uint8Array): void {
    if (address + BigInt(data.length) > USER_END) efault();
    let at = 0;
    for (let mapped = true; at < data.length; ) {
      const from = address + BigInt(at);
      const piece = this.#at(from);
      mapped = !piece || 'bytes' in piece;
      if (!mapped) break;
      const end = piece ? piece.address + BigInt(lengthOf(piece)) : this.#nextPiece(from);
      const length = end === undefined ? data.length - at : Math.min(Number(end - from), data.length - at);
      if (piece && 'bytes' in piece) piece.bytes.set(data.subarray(at, at + length), Number(from - piece.address));
      at += length;
    }
    if (at > 0) this.writes.push({ address, bytes: new Uint8Array(data.subarray(0, at)) });
    if (at < data.length) efault();
  }

  /** Where the next piece behind an address begins. */
  #nextPiece(address: bigint): bigint | undefined {
    const behind = this.pieces.map((piece) => piece.address).filter((start) => start > address);
    return behind.reduce<bigint | undefined>(
      (least, start) => (least === undefined || start < least ? start : least),
      undefined,
    );
  }
}
