import { readdirSync, readFileSync } from 'node:fs';
import { type CompiledRules, compileRules } from './rules.js';

const FOLDER = new URL('../../rules/', import.meta.url);
const compiled = new Map<string, CompiledRules>();

/** Module versions with a bundled rules document, oldest first. */
export function bundledVersions(): string[] {
  return readdirSync(FOLDER)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length))
    .sort();
}

/** The bundled rules of a module version such as `1.5.06`, compiled once. Throws RangeError naming those that there are. */
export function loadRules(version: string): CompiledRules {
  let rules = compiled.get(version);
  if (!rules) {
    const known = bundledVersions();
    if (!known.includes(version)) {
      throw new RangeError(`No rules for TDX module ${version}; there are rules for ${known.join(', ')}`);
    }
    const document = JSON.parse(readFileSync(new URL(`${version}.json`, FOLDER), 'utf8'));
    rules = compileRules(document, { trusted: true });
    compiled.set(version, rules);
  }
  return rules;
}
