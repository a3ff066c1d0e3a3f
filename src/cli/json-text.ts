/** Where a JSON text stops being JSON: `line` and `column` count from 1. */
export interface JsonFault {
  line: number;
  column: number;
  /** What was expected there, and what is there. */
  message: string;
}

/** Parses JSON, or says where it is wrong: JSON.parse of Node 20 often does not. */
export function parseJsonText(text: string): { ok: true; value: unknown } | { ok: false; fault: JsonFault } {
  const body = text.startsWith('\ufeff') ? text.slice(1) : text;
  try {
    return { ok: true, value: JSON.parse(body) };
  } catch {
    return { ok: false, fault: locate(body) };
  }
}

class Fault extends Error {
  constructor(
    readonly at: number,
    readonly expected: string,
  ) {
    super(expected);
  }
}

function locate(text: string): JsonFault {
  try {
    const end = value(text, space(text, 0));
    throw new Fault(space(text, end), 'the end of the file');
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    const before = text.slice(0, error.at);
    const line = before.split('\n').length;
    const column = error.at - before.lastIndexOf('\n');
    const there = error.at >= text.length ? 'the file ends' : `there is ${JSON.stringify(text[error.at])}`;
    return { line, column, message: `expected ${error.expected}, but ${there}` };
  }
}

const space = (text: string, at: number): number => {
  let i = at;
  while (i < text.length && ' \t\r\n'.includes(text[i]!)) i++;
  return i;
};

// Each of these takes the index of a token's first character, and gives the index behind its last one.
function value(text: string, at: number): number {
  const c = text[at];
  if (c === '{') return list(text, at, '}', property, 'a property name in double quotes');
  if (c === '[') return list(text, at, ']', value, 'a value');
  if (c === '"') return string(text, at);
  for (const word of ['true', 'false', 'null']) if (text.startsWith(word, at)) return at + word.length;
  const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
  number.lastIndex = at;
  const match = number.exec(text);
  if (match) return at + match[0].length;
  throw new Fault(at, 'a value');
}

function list(text: string, at: number, close: string, item: typeof value, what: string): number {
  let i = space(text, at + 1);
  if (text[i] === close) return i + 1;
  for (;;) {
    i = space(text, item(text, i));
    if (text[i] === close) return i + 1;
    if (text[i] !== ',') throw new Fault(i, `"," or "${close}"`);
    i = space(text, i + 1);
    if (text[i] === close) throw new Fault(i, `${what} after ","`);
  }
}

function property(text: string, at: number): number {
  if (text[at] !== '"') throw new Fault(at, 'a property name in double quotes');
  const colon = space(text, string(text, at));
  if (text[colon] !== ':') throw new Fault(colon, '":"');
  return value(text, space(text, colon + 1));
}

function string(text: string, at: number): number {
  for (let i = at + 1; i < text.length; i++) {
    const c = text[i]!;
    if (c === '"') return i + 1;
    if (c < ' ') throw new Fault(i, 'the end of the string (write a line break as \\n)');
    if (c === '\\') {
      const escaped = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;
      escaped.lastIndex = i;
      if (!escaped.test(text)) throw new Fault(i, 'a valid escape');
      i = escaped.lastIndex - 1;
    }
  }
  throw new Fault(text.length, 'the end of the string');
}
