import type { Command } from 'commander';
import type { CpuidField, CpuidHost, CpuidRegisterView, MovedBits, Side } from '../cpuid/questions/index.js';
import { withCommonOptions } from './options.js';
import { hex, type Output } from './output.js';

export const withCpuidOptions = (command: Command): Command =>
  withCommonOptions(command).option(
    '--module <version|file>',
    'the TDX module: rules by version or a rules document; without --profile no processor is assumed',
  );

/** What an answer is about, in its first line and in JSON. */
export const subjectOf = ({ name, rules, platform, facts }: CpuidHost) => ({
  host: name,
  module: rules?.module ?? null,
  known: [
    ...(rules ? [`rules (${rules.document.known})`] : []),
    ...(platform?.cpuid ? ['processor'] : []),
    ...(facts ? ['kernel'] : []),
  ],
});

export function printSubject(output: Output, host: CpuidHost): void {
  const { host: name, module, known } = subjectOf(host);
  const rules = module === null ? 'a TDX module without rules' : `TDX module ${module}`;
  output.line(`${output.colors.bold(name)}: ${rules}; known are ${known.join(', ')}`);
}

export const leafText = (leaf: number, subleaf: number | null): string =>
  subleaf === null ? hex(leaf) : `${hex(leaf)}.${subleaf}`;

/** Eight digits: `?` for one with an unknown bit, `g` for one that the guest has a say in. */
export function digits({ guest: { value, unknown, guest } }: CpuidRegisterView): string {
  return [28, 24, 20, 16, 12, 8, 4, 0]
    .map((low) => {
      const nibble = (mask: number) => (mask >>> low) & 0xf;
      return nibble(unknown) ? '?' : nibble(guest) ? 'g' : nibble(value).toString(16);
    })
    .join('');
}

export const valueText = (value: CpuidField['value'] | Side['value']): string =>
  typeof value === 'number' ? (value > 9 ? hex(value) : `${value}`) : value;

export const bitsText = ({ high, low }: { high: number; low: number }): string =>
  high === low ? `[${low}]` : `[${high}:${low}]`;

/** JSON of a field or bits, with the place as numbers and in words. */
export const placeJson = (at: {
  leaf: number;
  subleaf: number | null;
  register: string;
  high: number;
  low: number;
  name?: string;
}) => ({
  leaf: hex(at.leaf),
  subleaf: at.subleaf,
  register: at.register,
  bits: bitsText(at).slice(1, -1),
  ...(at.name !== undefined && { name: at.name }),
});

export const movedJson = ({ from, to, ...at }: MovedBits) => ({ ...placeJson(at), from, to });

export function printMoved(output: Output, moved: readonly MovedBits[], reasons: boolean): void {
  const { dim } = output.colors;
  for (const { leaf, subleaf, register, high, low, name, from, to } of moved) {
    const place = `${leafText(leaf, subleaf)} ${register.toUpperCase()}${bitsText({ high, low })}`;
    output.line(`  ${place.padEnd(24)} ${(name ?? '').padEnd(18)} ${valueText(from.value)} -> ${valueText(to.value)}`);
    if (!reasons) continue;
    output.line(dim(`      ${from.kind}: ${from.reason}`));
    output.line(dim(`      ${to.kind}: ${to.reason}`));
  }
}
