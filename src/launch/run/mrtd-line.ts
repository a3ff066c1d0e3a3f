const LINE = /^MRTD ([0-9a-f]{96})\r?$/;
/** Longer lines are not looked at. */
const LONGEST_LINE = 256;
const NEWLINE = 0x0a;

/** Finds the line `MRTD <96 hexadecimal digits>` in what a guest prints: the MRTD of its own TDREPORT. */
export class MrtdLine {
  /** The last one printed. */
  reported: string | undefined;
  #line = '';

  write(bytes: Uint8Array): void {
    for (let start = 0; start < bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, start);
      const end = newline < 0 ? bytes.length : newline;
      if (this.#line.length <= LONGEST_LINE) {
        const most = Math.min(end, start + LONGEST_LINE + 1);
        this.#line += Buffer.from(bytes.buffer, bytes.byteOffset + start, most - start).toString('latin1');
      }
      if (newline < 0) return;
      this.reported = LINE.exec(this.#line)?.[1] ?? this.reported;
      this.#line = '';
      start = newline + 1;
    }
  }
}
