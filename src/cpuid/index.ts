export type { CpuidEntry, Registers, Requirement, RulesDocument } from './document.js';
export { evaluateTd, loadTdParams, type Refusal } from './evaluate.js';
export { type BinaryOp, type Expr, REGISTERS, type Register, RulesError } from './expression/ast.js';
export { parseExpression } from './expression/parse.js';
export { type GuestState, guestCpuid } from './guest.js';
export { Host, type HostFacts, sampleHost } from './host.js';
export { bundledVersions, loadRules } from './load.js';
export { NativeCpuid, type NativeRow } from './native.js';
export { type CompiledEntry, type CompiledRules, compileRules } from './rules.js';
