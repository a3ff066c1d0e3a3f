type Schema = Record<string, unknown>;

/** First violation of `schema` in `value`, or undefined: as much of JSON Schema as the project's own schemas use. */
export function violation(root: Schema, value: unknown, schema: Schema = root, path = '$'): string | undefined {
  const check = (inner: unknown, part: unknown, at: string): string | undefined =>
    violation(root, inner, part as Schema, at);
  for (const [keyword, rule] of Object.entries(schema)) {
    const found = KEYWORDS[keyword]?.({ rule, value, path, schema, root, check });
    if (KEYWORDS[keyword] === undefined && !ANNOTATIONS.has(keyword)) return `${path}: unknown keyword ${keyword}`;
    if (found !== undefined) return found;
  }
  return undefined;
}

interface Context {
  rule: unknown;
  value: unknown;
  path: string;
  schema: Schema;
  root: Schema;
  check: (value: unknown, schema: unknown, path: string) => string | undefined;
}

const ANNOTATIONS = new Set(['$schema', '$defs', 'title', 'description', 'patternProperties', 'additionalProperties']);
const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v);
const typeOf = (v: unknown): string => (Array.isArray(v) ? 'array' : Number.isInteger(v) ? 'integer' : typeof v);

const KEYWORDS: Record<string, (c: Context) => string | undefined> = {
  type: (c) => {
    if (typeOf(c.value) !== c.rule) return `${c.path}: not of type ${c.rule}`;
    return isObject(c.value) ? members(c) : undefined;
  },
  properties: () => undefined,
  required: ({ rule, value, path }) => {
    const missing = (rule as string[]).find((key) => !isObject(value) || !(key in value));
    return missing === undefined ? undefined : `${path}: ${missing} is missing`;
  },
  items: ({ rule, value, path, check }) => {
    for (const [i, item] of (value as unknown[]).entries()) {
      const found = check(item, rule, `${path}[${i}]`);
      if (found !== undefined) return found;
    }
    return undefined;
  },
  anyOf: ({ rule, value, path, check }) =>
    (rule as unknown[]).some((part) => check(value, part, path) === undefined) ? undefined : `${path}: fits no form`,
  $ref: ({ rule, value, path, root, check }) => {
    const name = String(rule).replace('#/$defs/', '');
    return check(value, (root['$defs'] as Record<string, Schema>)[name], path);
  },
  enum: ({ rule, value, path }) => ((rule as unknown[]).includes(value) ? undefined : `${path}: not one of ${rule}`),
  const: ({ rule, value, path }) => (value === rule ? undefined : `${path}: not ${rule}`),
  pattern: ({ rule, value, path }) =>
    new RegExp(String(rule)).test(String(value)) ? undefined : `${path}: not ${rule}`,
  minimum: ({ rule, value, path }) => ((value as number) >= (rule as number) ? undefined : `${path}: below ${rule}`),
  maximum: ({ rule, value, path }) => ((value as number) <= (rule as number) ? undefined : `${path}: above ${rule}`),
  minLength: ({ rule, value, path }) =>
    (value as string).length >= (rule as number) ? undefined : `${path}: too short`,
  minItems: ({ rule, value, path }) => ((value as []).length >= (rule as number) ? undefined : `${path}: too few`),
  maxItems: ({ rule, value, path }) => ((value as []).length <= (rule as number) ? undefined : `${path}: too many`),
};

function members({ value, schema, path, check }: Context): string | undefined {
  const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
  const patterns = Object.entries((schema['patternProperties'] ?? {}) as Record<string, Schema>);
  for (const [key, member] of Object.entries(value as object)) {
    const matching = patterns.find(([pattern]) => new RegExp(pattern).test(key))?.[1];
    const rule = properties[key] ?? matching ?? schema['additionalProperties'];
    if (rule === false) return `${path}.${key}: not allowed`;
    const found = rule === undefined ? undefined : check(member, rule, `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}
