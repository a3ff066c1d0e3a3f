import { Command } from 'commander';
import type { CpuidEvaluation, CpuidField, CpuidRegisterView } from '../../cpuid/questions/index.js';
import { type CpuidOptions, openCpuidHost } from '../cpuid-host.js';
import {
  bitsText,
  digits,
  leafText,
  placeJson,
  printSubject,
  subjectOf,
  valueText,
  withCpuidOptions,
} from '../cpuid-output.js';
import { EXIT, usageError } from '../errors.js';
import { readUserJson } from '../files.js';
import { printFindings } from '../findings.js';
import type { Bind } from '../main.js';
import { hex, type Output } from '../output.js';

interface EvaluateCommandOptions extends CpuidOptions {
  leaf?: string;
  vcpu?: string;
}

export const evaluateCommand = (bind: Bind): Command =>
  withCpuidOptions(new Command('evaluate'))
    .summary('whether a TD comes of a configuration, and what it finds in CPUID')
    .description(
      'Say whether a TD comes of a configuration, what its guest finds in CPUID, and how each value comes about.',
    )
    .argument('[config]', 'the configuration, a JSON file; - for standard input; left out: the defaults')
    .option('--leaf <leaf[.subleaf]>', 'only this leaf, field by field with the reasons')
    .option('--vcpu <n>', 'the vCPU that is asked about: its APIC id shows in CPUID', '0')
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl cpuid evaluate                            all leaves of a TD made with the defaults
  $ tdxctl cpuid evaluate td.json --leaf 7.1         one of them, with reasons
  $ tdxctl cpuid evaluate --module 1.5.06            what the module alone decides: the processor is unknown
  $ tdxctl cpuid evaluate --json | jq '.registers[] | select(.leaf == "0x7")'

A digit is ? where a bit of it is unknown, g where the guest decides.
Exit code 1: no TD comes of it.`,
    )
    .action(bind(evaluate));

async function evaluate(output: Output, path: string | undefined, options: EvaluateCommandOptions): Promise<number> {
  const input = path === undefined ? {} : readUserJson(path, 'configuration');
  const { parseTdConfig } = await import('../../td/index.js');
  const { evaluateCpuid, fieldsOf } = await import('../../cpuid/questions/index.js');
  const config = parseTdConfig(input);
  const host = await openCpuidHost(options);
  const evaluation = evaluateCpuid(host, config, { vcpu: wholeNumber(options.vcpu ?? '0', '--vcpu') });
  const views = options.leaf === undefined ? evaluation.registers : chosen(evaluation, options.leaf);
  const withFields = views.map((view) => ({ view, fields: fieldsOf(evaluation, view) }));
  if (options.json) {
    const { accepted, findings, undecided } = evaluation;
    output.json({ ...subjectOf(host), accepted, findings, undecided, registers: withFields.map(asJson) });
  } else {
    printSubject(output, host);
    printVerdict(output, evaluation);
    if (options.leaf === undefined) printAll(output, views);
    else for (const { view, fields } of withFields) printFields(output, view, fields);
  }
  return evaluation.accepted === false ? EXIT.no : EXIT.done;
}

function wholeNumber(text: string, option: string): number {
  if (!/^(0x[0-9a-f]+|\d+)$/i.test(text) || Number(text) > 0xffff_ffff) {
    throw usageError(`${option} is '${text}', expected a whole number`);
  }
  return Number(text);
}

function chosen(evaluation: CpuidEvaluation, text: string): CpuidRegisterView[] {
  const [leaf, subleaf] = text.split('.').map((part) => wholeNumber(part, '--leaf')) as [number, number?];
  const views = evaluation.registers.filter(
    (view) => view.leaf === leaf && (subleaf === undefined || view.subleaf === null || view.subleaf === subleaf),
  );
  if (views.length > 0) return views;
  throw usageError(
    `the module has no values for CPUID leaf ${text}: CPUID gives a #VE there`,
    'Leave --leaf out to see all leaves.',
  );
}

const asJson = ({ view, fields }: { view: CpuidRegisterView; fields: readonly CpuidField[] }) => {
  const { leaf, subleaf, register, stored, guest } = view;
  const masks = (bits: typeof guest) => ({
    value: hex(bits.value),
    unknown: hex(bits.unknown),
    guest: hex(bits.guest),
  });
  return {
    leaf: hex(leaf),
    subleaf,
    register,
    stored: stored ? masks(stored) : null,
    guest: masks(guest),
    fields: fields.map(({ value, kind, reason, ...at }) => ({ ...placeJson(at), value, kind, reason })),
  };
};

function printVerdict(output: Output, { accepted, findings, undecided }: CpuidEvaluation): void {
  const { bold, green, red, yellow } = output.colors;
  printFindings(output, findings);
  const open = undecided.length === 0 ? '' : `: not decided ${undecided.join(', ')}`;
  if (accepted === true) output.line(bold(green('accepted')));
  else
    output.line(accepted === false ? bold(red('refused')) : `${bold(yellow('unknown'))} whether it is accepted${open}`);
}

function printAll(output: Output, views: readonly CpuidRegisterView[]): void {
  output.line(
    output.colors.dim(`\n${'leaf'.padEnd(14)}${['EAX', 'EBX', 'ECX', 'EDX'].map((r) => r.padEnd(10)).join('')}`),
  );
  for (let i = 0; i < views.length; i += 4) {
    const { leaf, subleaf } = views[i]!;
    output.line(
      leafText(leaf, subleaf).padEnd(14) +
        views
          .slice(i, i + 4)
          .map((v) => digits(v).padEnd(10))
          .join(''),
    );
  }
}

function printFields(output: Output, view: CpuidRegisterView, fields: readonly CpuidField[]): void {
  const { bold, cyan, dim } = output.colors;
  output.line(`\n${bold(`${leafText(view.leaf, view.subleaf)} ${view.register.toUpperCase()}`)}  ${digits(view)}`);
  for (const { high, low, name, value, kind, reason } of fields) {
    const what = `${bitsText({ high, low }).padEnd(8)} ${(name ?? '').padEnd(18)} ${valueText(value).padEnd(13)}`;
    output.line(`  ${what} ${cyan(kind.padEnd(11))} ${dim(reason)}`);
  }
}
