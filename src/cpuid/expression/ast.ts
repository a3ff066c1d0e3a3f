/** An expression of a rules document, parsed. Every value is an unsigned 64-bit integer. */
export type Expr =
  | { kind: 'number'; value: bigint }
  /** A field of TD_PARAMS, a value of the host, or (`sys.x`, `attributes.PKS`) a member of one. */
  | { kind: 'name'; name: string; member?: string }
  | RegisterExpr
  | { kind: 'slice'; of: Expr; high: number; low: number }
  | { kind: 'unary'; op: '!' | '~'; of: Expr }
  | { kind: 'binary'; op: BinaryOp; left: Expr; right: Expr }
  | { kind: 'choice'; condition: Expr; then: Expr; otherwise: Expr }
  | { kind: 'call'; name: string; args: Expr[] };

/** A CPUID register: what the TD gets, what the processor has, or what TD_PARAMS.CPUID_CONFIG asks for. */
export interface RegisterExpr {
  kind: 'register';
  of: 'virtual' | 'native' | 'config';
  leaf: number;
  /** null: the sub-leaf is not significant. */
  subleaf: number | null;
  register: Register;
}

/** Index into EAX, EBX, ECX, EDX. */
export type Register = 0 | 1 | 2 | 3;
export const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;

export type BinaryOp =
  | '||'
  | '&&'
  | '=='
  | '!='
  | '<'
  | '<='
  | '>'
  | '>='
  | '|'
  | '^'
  | '&'
  | '<<'
  | '>>'
  | '+'
  | '-'
  | '*'
  | '/';

/** An expression or a document that cannot be understood; `where` is the path in the document. */
export class RulesError extends Error {
  override readonly name = 'RulesError';
  constructor(
    message: string,
    readonly where: string,
  ) {
    super(`${where}: ${message}`);
  }
}
