import { Command } from 'commander';
import type { CpuidBaseline } from '../../cpuid/questions/index.js';
import { type CpuidOptions, profileCpuidHosts } from '../cpuid-host.js';
import { bitsText, leafText, placeJson, withCpuidOptions } from '../cpuid-output.js';
import { EXIT } from '../errors.js';
import { readUserJson } from '../files.js';
import type { Bind } from '../main.js';
import { hex, type Output, toJson } from '../output.js';

interface BaselineOptions extends CpuidOptions {
  config?: string;
}

export const baselineCommand = (bind: Bind): Command =>
  withCpuidOptions(new Command('baseline'))
    .summary('the configuration that shows guests the same CPUID on many hosts')
    .description(
      'Find the configuration that every host accepts and that shows guests the same CPUID everywhere, and what each host loses by it.',
    )
    .argument('<host...>', 'profiles by name or file, or folders of profiles')
    .option('--config <file>', 'what is wanted in any case: vCPUs, attributes, features')
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl cpuid baseline spr-1.5.06 spr_lass-1.5.06
  $ tdxctl cpuid baseline fleet/ --json | jq .config > td.json

Exit code 1: a host refuses it, or something differs whatever the configuration.`,
    )
    .action(bind(baseline));

async function baseline(output: Output, names: string[], options: BaselineOptions): Promise<number> {
  const input = options.config === undefined ? {} : readUserJson(options.config, 'configuration');
  const { parseTdConfig } = await import('../../td/index.js');
  const { baselineCpuid } = await import('../../cpuid/questions/index.js');
  const config = parseTdConfig(input);
  const answer = baselineCpuid(await profileCpuidHosts(names, options.module), config);
  if (options.json) output.json(asJson(answer));
  else print(output, answer);
  return answer.same ? EXIT.done : EXIT.no;
}

const asJson = ({ config, same, differences, hosts }: CpuidBaseline) => ({
  same,
  config,
  differences: differences.map(({ kind, reason, hosts, ...at }) => ({ ...placeJson(at), kind, reason, hosts })),
  hosts: hosts.map(({ loses: { xfam, bits }, ...host }) => ({
    ...host,
    loses: { xfam, bits: bits.map(({ leaf, mask, ...bit }) => ({ leaf: hex(leaf), ...bit, mask: hex(mask) })) },
  })),
});

function print(output: Output, { config, same, differences, hosts }: CpuidBaseline): void {
  const { bold, dim, green, red, yellow } = output.colors;
  output.line(same ? bold(green(`the same on ${hosts.length} hosts`)) : bold(yellow('not the same everywhere')));
  for (const { leaf, subleaf, register, high, low, name, kind, reason, hosts: others } of differences) {
    const few =
      others.length > 4 ? `${others.slice(0, 4).join(', ')} and ${others.length - 4} more` : others.join(', ');
    output.line(
      `  ${leafText(leaf, subleaf)} ${register.toUpperCase()}${bitsText({ high, low })} ${name ?? ''} on ${few}`,
    );
    output.line(dim(`      ${kind}: ${reason}`));
  }
  for (const { name, accepted, findings, loses } of hosts) {
    const verdict = accepted === false ? red('refuses it') : accepted === true ? 'accepts it' : 'may accept it';
    output.line(
      `${bold(name)} ${verdict}${loses.xfam.length === 0 && loses.bits.length === 0 ? ', loses nothing' : ''}`,
    );
    for (const { severity, what, rule } of findings)
      if (severity === 'error') output.line(`  ${what} ${dim(`[${rule}]`)}`);
    if (loses.xfam.length > 0)
      output.line(`  loses XFAM ${typeof loses.xfam === 'string' ? loses.xfam : loses.xfam.join(', ')}`);
    for (const { names } of loses.bits) output.line(`  loses ${names}`);
  }
  output.line();
  output.line(toJson(config));
}
