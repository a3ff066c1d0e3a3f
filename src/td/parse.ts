import * as v from 'valibot';
import { CPUID_FEATURES, findFeature, suggestFeature } from '../cpuid/names.js';
import { nearestName } from '../cpuid/nearest.js';
import type { RuleId } from '../rulebook/index.js';
import { TdConfigError } from './errors.js';
import { type Finding, finding, isError } from './finding.js';
import { configExpected, featuresExpected, type TdConfig, TdConfigSchema } from './schema.js';

type Issue = v.BaseIssue<unknown>;

/** `cpuid[2].eax`; a key that is no plain word is quoted. */
export function pathText(keys: readonly PropertyKey[]): string {
  return keys.reduce<string>((path, key) => {
    if (typeof key === 'number') return `${path}[${key}]`;
    const word = String(key);
    if (!/^[A-Za-z_$][\w$.]*$/.test(word)) return `${path}[${JSON.stringify(word)}]`;
    return path === '' ? word : `${path}.${word}`;
  }, '');
}

const keysOf = (issue: Issue): PropertyKey[] => (issue.path ?? []).map(({ key }) => key as PropertyKey);

/** The value as a user would write it, cut where it is long. */
export function show(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value === 'bigint') return `${value}n`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (typeof value === 'function' || typeof value === 'symbol') return `a ${typeof value}`;
  if (typeof value === 'number') return String(value);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return 'an object';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 76)}..."` : text;
}

// What of a union's complaints to report: those about parts of the value, where an alternative took the value apart; they are
// about what the user meant to write.
function leaves(issue: Issue, above: PropertyKey[] = []): { issue: Issue; keys: PropertyKey[] }[] {
  const keys = [...above, ...keysOf(issue)];
  const deeper = (issue.issues ?? []).filter(({ path }) => path !== undefined && path.length > 0);
  return deeper.length === 0 ? [{ issue, keys }] : deeper.flatMap((inner) => leaves(inner, keys));
}

function ruleOf({ type, input }: Issue): RuleId {
  if (type === 'regex') return 'config.text';
  if (['safe_integer', 'min_value', 'max_value', 'multiple_of', 'min_length'].includes(type)) return 'config.range';
  if (type !== 'picklist') return 'config.type';
  return typeof input === 'string' ? 'config.unknown-name' : 'config.range';
}

const FIELDS: readonly string[] = Object.keys(TdConfigSchema.pipe[0].entries);
const CPUID_FIELDS: readonly string[] = ['leaf', 'subleaf', 'eax', 'ebx', 'ecx', 'edx'];

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const unexpected = (issue: Pick<Issue, 'input' | 'message'>, path: string, rule: RuleId): Finding =>
  finding(rule, path, 'error', `found ${show(issue.input)}, expected ${issue.message}`);

function describe({ issue, keys }: { issue: Issue; keys: PropertyKey[] }): Finding {
  const path = pathText(keys);
  if (issue.type === 'picklist' && typeof issue.input === 'string') {
    const near = nearestName(issue.input, issue.message.replace('one of ', '').split(', '));
    const fix = near ? `Write "${near}"` : `Give ${issue.message}`;
    return finding('config.unknown-name', path, 'error', `${show(issue.input)} is not a name that is known here`, {
      fix,
    });
  }
  if (issue.type === 'strict_object' && issue.input === undefined) {
    return finding('config.type', path, 'error', `"${String(keys.at(-1))}" is missing, expected ${issue.message}`);
  }
  return unexpected(issue, path, ruleOf(issue));
}

/** Keys of an object that no field has. Valibot stops at the first of them. */
function unknownKeys(value: unknown, fields: readonly string[], above: readonly PropertyKey[]): Finding[] {
  const names = isObject(value) ? Object.keys(value).filter((name) => !fields.includes(name)) : [];
  return names.map((name) => {
    const near = nearestName(name, fields);
    const fix = near ? `Write "${near}", or remove it` : `Remove it; the fields are ${fields.join(', ')}`;
    const what = `"${name}" is not a field of the configuration`;
    return finding('config.unknown-key', pathText([...above, name]), 'error', what, { fix });
  });
}

/** Names and widths in `features`, which a schema of types cannot check. */
function checkFeatures(features: Readonly<Record<string, boolean | number>>): Finding[] {
  const used = new Map<string, string>();
  return Object.entries(features).flatMap(([name, value]) => {
    const path = pathText(['features', name]);
    const feature = findFeature(name);
    if (feature === undefined) {
      const near = suggestFeature(name);
      const fix = near ? `Write "${near}"` : 'Give the register in "cpuid" instead';
      const what = `"${name}" is none of the ${CPUID_FEATURES.length} CPUID features and fields that are known by name`;
      return finding('config.unknown-name', path, 'error', what, { fix });
    }
    const earlier = used.get(feature.name);
    used.set(feature.name, name);
    if (earlier !== undefined) {
      const what = `"${name}" and "${earlier}" are the same feature, ${feature.name}`;
      return finding('config.conflict', path, 'error', what);
    }
    const width = feature.high - feature.low + 1;
    const what = `${value} does not fit ${feature.name}, which has ${width === 1 ? '1 bit' : `${width} bits`}`;
    const fits = typeof value === 'boolean' ? width === 1 : value < 2 ** width;
    return fits ? [] : finding('config.feature-width', path, 'error', what);
  });
}

/** A configuration's parts that are well-formed, and what is wrong with the others. */
export interface CheckedConfig {
  readonly config: TdConfig;
  readonly findings: readonly Finding[];
}

const isUnknownKey = ({ type, expected }: Issue): boolean => type === 'strict_object' && expected === 'never';

/** What the schema says, without unknown keys and without lists in place of objects, which Valibot takes. */
function checkShape(input: Record<string, unknown>): Finding[] {
  const { issues = [] } = v.safeParse(TdConfigSchema, input);
  const wrong = issues.filter((issue) => !isUnknownKey(issue)).flatMap((issue) => leaves(issue));
  const lists = Array.isArray(input['features'])
    ? [unexpected({ input: input['features'], message: featuresExpected }, 'features', 'config.type')]
    : [];
  const entries = Array.isArray(input['cpuid']) ? input['cpuid'] : [];
  return [
    ...unknownKeys(input, FIELDS, []),
    ...wrong.map(describe),
    ...lists,
    ...entries.flatMap((entry, at) => unknownKeys(entry, CPUID_FIELDS, ['cpuid', at])),
  ];
}

/** Checks the form of a configuration. Fields that have errors are left out of `config`. Never throws. */
export function checkTdConfig(input: unknown): CheckedConfig {
  if (!isObject(input)) {
    return { config: {}, findings: [unexpected({ input, message: configExpected }, '', 'config.type')] };
  }
  const findings = checkShape(input);
  const isWrong = (path: string) => findings.some((item) => item.path === path);
  const hasWrongItem = (field: string) => findings.some(({ path }) => path.startsWith(`${field}[`));
  const config: Record<string, unknown> = {};
  for (const field of FIELDS) {
    // A list is used whole or not at all, features one by one.
    const wrong = isWrong(field) || (field !== 'features' && hasWrongItem(field));
    if (input[field] !== undefined && !wrong) config[field] = input[field];
  }
  if (isObject(config['features'])) {
    const wellFormed = (features: object) =>
      Object.fromEntries(Object.entries(features).filter(([name]) => !isWrong(pathText(['features', name]))));
    findings.push(...checkFeatures(wellFormed(config['features'])));
    config['features'] = wellFormed(config['features']);
  }
  return { config: config as TdConfig, findings };
}

/**
 * Checks the form of a configuration, of a file or of a program, and returns it typed. Whether a host can make a TD of it is
 * {@link validateTd}'s to say.
 * @throws TdConfigError with every error, each with its path, what it is and what was expected.
 */
export function parseTdConfig(input: unknown): TdConfig {
  const { config, findings } = checkTdConfig(input);
  if (findings.some(isError)) throw new TdConfigError(findings);
  return config;
}
