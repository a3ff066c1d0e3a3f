// The kernel's structures as bytes: little endian, every offset written out as the UAPI headers have it, so that a reader
// can hold a table against the header line by line and a test can hold it against the C++ one.

/** One field: where it lies and how it is read and written. */
export interface Field<T> {
  readonly offset: number;
  readonly size: number;
  read(view: DataView, base: number): T;
  write(view: DataView, base: number, value: T): void;
  /** Of a structure inside this one: its fields. */
  readonly fields?: Fields;
}

// biome-ignore lint/suspicious/noExplicitAny: fields of any type
export type Fields = Readonly<Record<string, Field<any>>>;

export type Decoded<F extends Fields> = { -readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

export const u8 = (offset: number): Field<number> => ({
  offset,
  size: 1,
  read: (view, base) => view.getUint8(base + offset),
  write: (view, base, value) => view.setUint8(base + offset, value),
});

export const u16 = (offset: number): Field<number> => ({
  offset,
  size: 2,
  read: (view, base) => view.getUint16(base + offset, true),
  write: (view, base, value) => view.setUint16(base + offset, value, true),
});

export const u32 = (offset: number): Field<number> => ({
  offset,
  size: 4,
  read: (view, base) => view.getUint32(base + offset, true),
  write: (view, base, value) => view.setUint32(base + offset, value, true),
});

export const i32 = (offset: number): Field<number> => ({
  offset,
  size: 4,
  read: (view, base) => view.getInt32(base + offset, true),
  write: (view, base, value) => view.setInt32(base + offset, value, true),
});

export const u64 = (offset: number): Field<bigint> => ({
  offset,
  size: 8,
  read: (view, base) => view.getBigUint64(base + offset, true),
  write: (view, base, value) => view.setBigUint64(base + offset, value, true),
});

/** `length` bytes as they are; shorter ones are written with zeros behind them. */
export const bytes = (offset: number, length: number): Field<Uint8Array> => ({
  offset,
  size: length,
  read: (view, base) => new Uint8Array(view.buffer, view.byteOffset + base + offset, length).slice(),
  write: (view, base, value) => {
    const target = new Uint8Array(view.buffer, view.byteOffset + base + offset, length);
    target.fill(0).set(value.subarray(0, length));
  },
});

/** `count` elements side by side; those that are not given are written as they would be in zeroed memory. */
export function array<T>(offset: number, count: number, element: (offset: number) => Field<T>): Field<readonly T[]> {
  const { size } = element(0);
  const elements = Array.from({ length: count }, (_, i) => element(offset + i * size));
  return {
    offset,
    size: count * size,
    read: (view, base) => elements.map((field) => field.read(view, base)),
    write: (view, base, value) => {
      for (const [i, field] of elements.entries()) if (value[i] !== undefined) field.write(view, base, value[i]);
    },
  };
}

/** A structure inside a structure. */
export const nested = <F extends Fields>(offset: number, inner: Struct<F>): Field<Decoded<F>> => ({
  offset,
  size: inner.size,
  fields: inner.fields,
  read: (view, base) => inner.readFrom(view, base + offset),
  write: (view, base, value) => inner.writeTo(view, base + offset, value),
});

export class Struct<F extends Fields> {
  constructor(
    /** Without `struct`. */
    readonly name: string,
    /** sizeof, bytes; without the flexible array at its end, if it has one. */
    readonly size: number,
    readonly fields: F,
  ) {}

  readFrom(view: DataView, base: number): Decoded<F> {
    const value: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(this.fields)) value[name] = field.read(view, base);
    return value as Decoded<F>;
  }

  writeTo(view: DataView, base: number, value: Partial<Decoded<F>>): void {
    for (const [name, field] of Object.entries(this.fields))
      if (value[name as keyof F] !== undefined) field.write(view, base, value[name as keyof F]);
  }

  /** @throws RangeError where `data` is shorter than the structure. */
  decode(data: Uint8Array): Decoded<F> {
    return this.readFrom(new DataView(data.buffer, data.byteOffset, data.byteLength), 0);
  }

  /** The structure's bytes; fields that are left out are zero. */
  encode(value: Partial<Decoded<F>>): Uint8Array {
    const data = new Uint8Array(this.size);
    this.writeTo(new DataView(data.buffer), 0, value);
    return data;
  }

  /** The offset of each field by its path, such as `io.data_offset`. */
  offsets(): Map<string, number> {
    const found = new Map<string, number>();
    const walk = (fields: Fields, path: string, base: number) => {
      for (const [name, field] of Object.entries(fields)) {
        found.set(path + name, base + field.offset);
        if (field.fields) walk(field.fields, `${path}${name}.`, base + field.offset);
      }
    };
    walk(this.fields, '', 0);
    return found;
  }
}

export const struct = <const F extends Fields>(name: string, size: number, fields: F): Struct<F> =>
  new Struct(name, size, fields);
