/** A profile that cannot be used: which file, where in it, what was expected there. */
export class ProfileError extends Error {
  override readonly name = 'ProfileError';
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A value of a profile with its place in the document, so that a complaint can name it. */
export class Checked {
  constructor(
    readonly value: unknown,
    private readonly file: string,
    private readonly path: string,
  ) {}

  fail(expected: string): never {
    const found = this.value === undefined ? 'missing' : JSON.stringify(this.value).slice(0, 60);
    throw new ProfileError(`${this.file}: ${this.path || 'the document'} is ${found}, expected ${expected}`);
  }

  #at(key: string | number, value: unknown): Checked {
    const path = typeof key === 'number' ? `${this.path}[${key}]` : this.path ? `${this.path}.${key}` : key;
    return new Checked(value, this.file, path);
  }

  object(): this {
    return isObject(this.value) ? this : this.fail('an object');
  }

  /** A field, whose value may still be missing. */
  field(name: string): Checked {
    return this.#at(name, isObject(this.value) ? this.value[name] : this.fail('an object'));
  }

  optional(name: string): Checked | undefined {
    const field = this.field(name);
    return field.value === undefined ? undefined : field;
  }

  entries(): [string, Checked][] {
    this.object();
    return Object.entries(this.value as object).map(([key, value]) => [key, this.#at(key, value)]);
  }

  list(): Checked[] {
    if (!Array.isArray(this.value)) this.fail('a list');
    return (this.value as unknown[]).map((item, i) => this.#at(i, item));
  }

  text(): string {
    return typeof this.value === 'string' ? this.value : this.fail('a string');
  }

  flag(): boolean {
    return typeof this.value === 'boolean' ? this.value : this.fail('true or false');
  }

  oneOf<const T extends string>(choices: readonly T[]): T {
    return choices.includes(this.value as T) ? (this.value as T) : this.fail(choices.map((c) => `'${c}'`).join(' or '));
  }

  whole(min: number, max: number): number {
    const { value } = this;
    const fits = typeof value === 'number' && Number.isInteger(value) && min <= value && value <= max;
    return fits ? value : this.fail(`a whole number from ${min} to ${max}`);
  }

  #unsigned(bits: number): bigint {
    const { value } = this;
    const isNumber = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
    const isText = typeof value === 'string' && /^(0x[0-9a-f]+|\d+)$/i.test(value);
    if (!isNumber && !isText) this.fail(`an unsigned number of ${bits} bits, such as "0x1f"`);
    const parsed = BigInt(value as number | string);
    return parsed >> BigInt(bits) === 0n ? parsed : this.fail(`an unsigned number of ${bits} bits`);
  }

  u32(): number {
    return Number(this.#unsigned(32));
  }

  u64(): bigint {
    return this.#unsigned(64);
  }
}
