import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { INK, kindStyles, PAPER } from '../cpuid/map/colours.js';
import { MAP_KINDS } from '../cpuid/map/kinds.js';
import type { MapField, MapLeaf, MapRegister } from '../cpuid/map/map.js';
import type { CpuidEvaluation } from '../cpuid/questions/index.js';
import { leafText, subjectOf } from './cpuid-output.js';

const FOLDER = new URL('../../pages/cpuid-map/', import.meta.url);
const asset = (name: string): string => readFileSync(new URL(name, FOLDER), 'utf8');

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => ESCAPES[c]!);

/** JSON in a script element: nothing in it may end the element or begin a comment. */
export const scriptJson = (value: unknown): string =>
  JSON.stringify(value, (_key, v: unknown) => (typeof v === 'bigint' ? `0x${v.toString(16)}` : v)).replace(
    /[<>\u2028\u2029]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );

/** What the page draws. Reasons are few and repeated, so that fields have their number. */
export function pageData(evaluation: CpuidEvaluation, map: readonly MapLeaf[]) {
  const reasons = new Map<string, number>();
  const reasonNumber = (reason: string): number => {
    if (!reasons.has(reason)) reasons.set(reason, reasons.size);
    return reasons.get(reason)!;
  };
  const field = ({ reason, ...rest }: MapField) => ({ ...rest, reason: reasonNumber(reason) });
  const register = ({ fields, ...rest }: MapRegister) => ({ ...rest, fields: fields.map(field) });
  const leaves = map.map(({ leaf, subleaf, registers }) => ({
    leaf,
    subleaf: subleaf ?? 0,
    text: leafText(leaf, subleaf),
    registers: registers.map(register),
  }));
  const { host, accepted, findings, config, resolved } = evaluation;
  const { attributes, xfam, gpaw, vcpus } = resolved;
  return {
    ...subjectOf(host),
    accepted,
    findings: findings.map(({ severity, what, why, fix }) => ({ severity, what, why, fix })),
    config,
    resolved: { attributes, xfam, gpaw, vcpus },
    kinds: MAP_KINDS.map(({ id, letter, label, meaning }) => ({ id, letter, label, meaning })),
    leaves,
    reasons: [...reasons.keys()],
  };
}

/** Only what is in the file may run or style it, and it may load nothing. */
function policy(script: string, style: string): string {
  const hash = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; base-uri 'none'; form-action 'none'`;
}

/** The map as one HTML file that needs nothing else. */
export function mapPage(evaluation: CpuidEvaluation, map: readonly MapLeaf[]): string {
  const data = pageData(evaluation, map);
  const colours = (['paper', 'ink'] as const).map((name) => {
    const { light, dark } = name === 'paper' ? PAPER : INK;
    return `--${name}:light-dark(${light},${dark})`;
  });
  const style = `:root{${colours.join(';')}}\n${kindStyles()}\n${asset('page.css')}`;
  const script = asset('page.js');
  const parts: Record<string, string> = {
    head: [
      `<meta http-equiv="Content-Security-Policy" content="${escapeHtml(policy(script, style))}">`,
      `<title>${escapeHtml(`CPUID of a TD: ${data.host}`)}</title>`,
      `<style>${style}</style>`,
    ].join('\n'),
    script: [
      `<script type="application/json" id="map-data">${scriptJson(data)}</script>`,
      `<script>${script}</script>`,
    ].join('\n'),
  };
  return asset('page.html').replace(/<!-- (head|script) -->/g, (_whole, name: string) => parts[name]!);
}
