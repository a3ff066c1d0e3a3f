/** Where and why an image was refused. */
export interface ImageErrorInit {
  /** The rule of {@link IMAGE_RULES} that is violated. */
  rule: string;
  /** What is wrong, one clause: `section 2 (TD_HOB): MemoryAddress is not page-aligned`. */
  what: string;
  /** Bytes from the start of the file to the field that is wrong. */
  offset?: number;
  /** The value found there, as text. */
  found?: string;
  /** What would have been right. */
  expected?: string;
  /** What to do about it, one sentence. */
  fix: string;
}

/** An image that cannot be made into a TD. The message holds the place, what was found, what was expected and what to do. */
export class ImageError extends Error {
  override readonly name = 'ImageError';
  readonly code = 'ERR_TD_IMAGE';
  readonly rule: string;
  readonly offset?: number;
  readonly found?: string;
  readonly expected?: string;
  readonly fix: string;

  constructor(init: ImageErrorInit) {
    super(describe(init));
    this.rule = init.rule;
    this.fix = init.fix;
    if (init.offset !== undefined) this.offset = init.offset;
    if (init.found !== undefined) this.found = init.found;
    if (init.expected !== undefined) this.expected = init.expected;
  }
}

function describe({ what, offset, found, expected, fix }: ImageErrorInit): string {
  const place = offset === undefined ? '' : ` at file offset 0x${offset.toString(16)}`;
  const values = [found && `found ${found}`, expected && `expected ${expected}`].filter(Boolean).join(', ');
  return `${what}${place}${values ? `: ${values}` : ''}. ${fix}`;
}
