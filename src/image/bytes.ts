/** Little-endian reads of a file; offsets are bytes. The caller has checked that they are inside. */
export class FileView {
  readonly size: number;
  readonly #view: DataView;

  constructor(readonly bytes: Uint8Array) {
    if (!(bytes instanceof Uint8Array)) throw new TypeError('an image is a Uint8Array: the bytes of the file');
    this.size = bytes.byteLength;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u16 = (offset: number): number => this.#view.getUint16(offset, true);
  u32 = (offset: number): number => this.#view.getUint32(offset, true);
  u64 = (offset: number): bigint => this.#view.getBigUint64(offset, true);

  /** The GUID at `offset` as text: its first three fields are little-endian, the rest are bytes in order. */
  guid(offset: number): string {
    const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
    const tail = Array.from(this.bytes.subarray(offset + 8, offset + 16), (byte) => hex(byte, 2)).join('');
    const head = `${hex(this.u32(offset), 8)}-${hex(this.u16(offset + 4), 4)}-${hex(this.u16(offset + 6), 4)}`;
    return `${head}-${tail.slice(0, 4)}-${tail.slice(4)}`;
  }
}

/** `0xfffff000`. */
export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;
