// Access rights as VMX and KVM have them: type 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15.
const DATA_RW = 0xc093;
const CODE_32 = 0xc09b;
const LDT = 0x82;
const BUSY_TSS = 0x8b;

/** A segment register with its hidden part. */
export class Segment {
  selector = 0;
  /** Linear, signed. */
  base = 0;
  /** Bytes less 1, granularity applied, unsigned. */
  limit: number;
  access: number;
  /** Loaded with a null selector. */
  unusable = false;

  constructor(access: number, limit: number) {
    this.access = access;
    this.limit = limit;
  }

  static data(): Segment {
    return new Segment(DATA_RW, 0xffff_ffff);
  }

  static code32(): Segment {
    return new Segment(CODE_32, 0xffff_ffff);
  }

  static ldt(): Segment {
    return new Segment(LDT, 0xffff);
  }

  static tss(): Segment {
    return new Segment(BUSY_TSS, 0xffff);
  }

  get type(): number {
    return this.access & 15;
  }

  get dpl(): number {
    return (this.access >> 5) & 3;
  }

  set dpl(value: number) {
    this.access = (this.access & ~0x60) | (value << 5);
  }

  /** L: 64-bit code. */
  get long(): boolean {
    return (this.access & 0x2000) !== 0;
  }

  /** D/B: 32-bit. */
  get big(): boolean {
    return (this.access & 0x4000) !== 0;
  }

  get isCode(): boolean {
    return (this.access & 0x18) === 0x18;
  }

  get writable(): boolean {
    return (this.access & 0x1a) === 0x12;
  }

  get readable(): boolean {
    return (this.access & 0x1a) !== 0x18;
  }

  /** Data that grows downwards: valid offsets are those above the limit. */
  get expandDown(): boolean {
    return (this.access & 0x1c) === 0x14;
  }

  /** Whether every 32-bit offset may be used without a look at limits. */
  get flat(): boolean {
    return this.base === 0 && this.limit === 0xffff_ffff && !this.unusable && !this.expandDown;
  }

  set(selector: number, base: number, limit: number, access: number): void {
    this.selector = selector;
    this.base = base;
    this.limit = limit;
    this.access = access;
    this.unusable = false;
  }

  setNull(selector: number): void {
    this.selector = selector;
    this.base = 0;
    this.limit = 0;
    this.access &= 0x60;
    this.unusable = true;
  }

  copy(other: Segment): void {
    this.selector = other.selector;
    this.base = other.base;
    this.limit = other.limit;
    this.access = other.access;
    this.unusable = other.unusable;
  }

  clone(): Segment {
    const copy = new Segment(this.access, this.limit);
    copy.copy(this);
    return copy;
  }
}
