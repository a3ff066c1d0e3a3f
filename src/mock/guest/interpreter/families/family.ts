import type { Exec } from '../code-cache.js';
import type { Insn } from '../decode.js';

/** Makes what an instruction does. @throws Stuck where this form of it is not known. */
export type Translate = (insn: Insn) => Exec;
/** By mnemonic, as the decoder spells it. */
export type Family = Readonly<Record<string, Translate>>;

/** The same translation under several mnemonics; it is given the part of the name that differs. */
export const each = (names: readonly string[], make: (name: string) => Translate): Family =>
  Object.fromEntries(names.map((name) => [name, make(name)]));
