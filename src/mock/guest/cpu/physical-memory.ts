/** A 4 KiB page whose bytes can be used in place. `code` belongs to the interpreter: what it has decoded of the page. */
export interface LivePage {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  code: unknown;
}

export function livePage(bytes: Uint8Array): LivePage {
  return { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), code: undefined };
}

/** What lies behind guest physical addresses. These are bytes, with the SHARED bit; accesses stay within a 4 KiB page. */
export interface PhysicalMemory {
  /** A copy; undefined where no memory answers (an EPT violation follows). */
  read(gpa: number, length: number): Uint8Array | undefined;
  /** False where no memory answers. */
  write(gpa: number, bytes: Uint8Array): boolean;
  /** The page that holds `gpa`, where its bytes may be used in place until the memory says otherwise. */
  page?(gpa: number): LivePage | undefined;
  /** False where instructions may not be fetched; left out: everywhere they may. */
  executable?(gpa: number): boolean;
}
