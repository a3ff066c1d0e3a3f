import { type BinaryOp, type Expr, REGISTERS, type Register, RulesError } from './ast.js';

// Binary operators, loosest first. Bit operators bind tighter than comparisons, unlike in C: `a & b == 0` asks for (a & b) == 0.
const LEVELS: readonly (readonly BinaryOp[])[] = [
  ['||'],
  ['&&'],
  ['==', '!=', '<=', '>=', '<', '>'],
  ['|'],
  ['^'],
  ['&'],
  ['<<', '>>'],
  ['+', '-'],
  ['*', '/'],
];

const NUMBER = '(?:0x[0-9a-fA-F]+|\\d+)';
const TOKEN = new RegExp(
  [
    '\\s+',
    // 7.0.ebx, 0x80000008.eax: leaf, sub-leaf where it is significant, register.
    `(?<register>${NUMBER}(?:\\.${NUMBER})?\\.e[abcd]x\\b)`,
    `(?<number>${NUMBER}\\b)`,
    '(?<name>[A-Za-z_]\\w*(?:\\.[A-Za-z_]\\w*)?)',
    '(?<op>\\|\\||&&|[=!<>]=|<<|>>|[-+*/|^&~!<>?:()\\[\\],])',
  ].join('|'),
  'y',
);

interface Token {
  kind: 'register' | 'number' | 'name' | 'op' | 'end';
  text: string;
  at: number;
}

function tokens(source: string, where: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < source.length) {
    const at = TOKEN.lastIndex;
    const groups = TOKEN.exec(source)?.groups;
    if (!groups) throw new RulesError(`'${source}' is not an expression: unexpected '${source[at]}' at ${at}`, where);
    for (const kind of ['register', 'number', 'name', 'op'] as const) {
      const text = groups[kind];
      if (text !== undefined) found.push({ kind, text, at });
    }
  }
  found.push({ kind: 'end', text: 'the end', at: source.length });
  return found;
}

/**
 * Parses one expression, such as `attributes.PERFMON && 7.1.eax[8]` or `min(MAXPA, config_flags.GPAW ? 52 : 48)`.
 * Throws RulesError naming `where` (a path in the rules document) and the column.
 */
export function parseExpression(source: string, where: string): Expr {
  const list = tokens(source, where);
  let next = 0;
  let registersOf: 'virtual' | 'native' | 'config' = 'virtual';

  const peek = (): Token => list[next]!;
  const fail = (expected: string): never => {
    const token = peek();
    throw new RulesError(`'${source}': expected ${expected} at ${token.at}, found ${token.text}`, where);
  };
  const accept = (op: string): boolean => {
    const hit = peek().kind === 'op' && peek().text === op;
    if (hit) next++;
    return hit;
  };
  const expect = (op: string): void => {
    if (!accept(op)) fail(`'${op}'`);
  };
  const bitNumber = (): number => {
    const token = peek();
    if (token.kind !== 'number' || Number(token.text) > 63) fail('a bit number from 0 to 63');
    next++;
    return Number(token.text);
  };

  function register(text: string): Expr {
    const parts = text.split('.');
    const name = parts.pop() as (typeof REGISTERS)[number];
    const [leaf, subleaf] = parts.map(Number);
    return {
      kind: 'register',
      of: registersOf,
      leaf: leaf!,
      subleaf: subleaf ?? null,
      register: REGISTERS.indexOf(name) as Register,
    };
  }

  function call(name: string): Expr {
    const outer = registersOf;
    if (name === 'native' || name === 'config') registersOf = name;
    const args: Expr[] = [];
    if (!accept(')')) {
      do args.push(choice());
      while (accept(','));
      expect(')');
    }
    const inner = registersOf;
    registersOf = outer;
    if (inner === outer) return { kind: 'call', name, args };
    if (args.length !== 1) fail(`one argument of ${name}()`);
    return args[0]!;
  }

  function primary(): Expr {
    const token = peek();
    if (accept('(')) {
      const inner = choice();
      expect(')');
      return inner;
    }
    if (token.kind === 'op' || token.kind === 'end') return fail('a value');
    next++;
    if (token.kind === 'number') return { kind: 'number', value: BigInt(token.text) };
    if (token.kind === 'register') return register(token.text);
    const [name, member] = token.text.split('.');
    if (member !== undefined) return { kind: 'name', name: name!, member };
    return accept('(') ? call(token.text) : { kind: 'name', name: token.text };
  }

  function sliced(): Expr {
    let of = primary();
    while (accept('[')) {
      const high = bitNumber();
      const low = accept(':') ? bitNumber() : high;
      if (low > high) fail('bits as [high:low]');
      expect(']');
      of = { kind: 'slice', of, high, low };
    }
    return of;
  }

  function unary(): Expr {
    for (const op of ['!', '~'] as const) if (accept(op)) return { kind: 'unary', op, of: unary() };
    return sliced();
  }

  function binary(level: number): Expr {
    const operators = LEVELS[level];
    if (!operators) return unary();
    let left = binary(level + 1);
    for (;;) {
      const op = operators.find(accept);
      if (op === undefined) return left;
      left = { kind: 'binary', op, left, right: binary(level + 1) };
    }
  }

  function choice(): Expr {
    const condition = binary(0);
    if (!accept('?')) return condition;
    const then = choice();
    expect(':');
    return { kind: 'choice', condition, then, otherwise: choice() };
  }

  const parsed = choice();
  if (peek().kind !== 'end') fail('the end');
  return parsed;
}
