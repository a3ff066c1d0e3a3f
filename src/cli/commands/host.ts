import { Command } from 'commander';
import type { CheckResult, CheckStatus } from '../../host/check.js';
import type { HostReport } from '../../host/report.js';
import { EXIT } from '../errors.js';
import type { Bind } from '../main.js';
import { type CommonOptions, openReaders, withCommonOptions } from '../options.js';
import type { Output } from '../output.js';

export const hostCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('host'))
    .summary('check whether this machine can run TDs')
    .description(
      'Check whether this machine can run TDs, from its firmware up to KVM: one line a check, with a fix.\n' +
        'It looks at this machine unless a model is asked for by --backend mock or --profile.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl host                    what is missing, and what to do about it
  $ sudo tdxctl host               also reads the kernel log and the MSRs
  $ tdxctl host --json | jq '.checks[] | select(.status == "fail")'

Exit code 1: this machine cannot run TDs.`,
    )
    .action(bind(host));

async function host(output: Output, options: CommonOptions): Promise<number> {
  const { checkHost } = await import('../../host/report.js');
  const readers = await openReaders(options);
  try {
    const report = checkHost(readers);
    if (options.json) output.json({ backend: readers.profile === undefined ? 'native' : 'mock', ...report });
    else print(output, report);
    return report.ready ? EXIT.done : EXIT.no;
  } finally {
    readers.close();
  }
}

const STATUS_WIDTH = 4;

const checkName = (check: CheckResult) => `${check.category}: ${check.name}`;

function print(output: Output, report: HostReport): void {
  const { colors } = output;
  const paint: Record<CheckStatus, (text: string) => string> = {
    pass: colors.green,
    fail: (text) => colors.bold(colors.red(text)),
    warn: colors.yellow,
    skip: colors.dim,
  };
  const width = Math.max(...report.checks.map((check) => checkName(check).length));

  output.line(report.subject);
  for (const check of report.checks) {
    const status = paint[check.status](check.status.padEnd(STATUS_WIDTH));
    output.line(`${status}  ${checkName(check).padEnd(width)}  ${check.detail}`);
    for (const note of check.notes ?? []) output.line(colors.dim(`        ${note}`));
    if (check.fix) output.line(`        ${colors.cyan('fix:')} ${check.fix}`);
  }
  output.line();
  for (const text of verdict(report)) output.line(text);
}

function verdict({ ready, profile, firstFailure }: HostReport): string[] {
  if (profile !== undefined) return ['This is a model: it says nothing about this machine.'];
  if (ready) return ['This machine can run TDs.'];
  const begin = firstFailure ? ` Begin with "${checkName(firstFailure)}".` : '';
  return [
    `This machine cannot run TDs.${begin}`,
    'Everything works on the model: tdxctl takes it by itself here, or with --backend mock.',
  ];
}
