import { Command } from 'commander';
import { EXIT } from '../errors.js';
import { readUserJson } from '../files.js';
import { countFindings, printFindings } from '../findings.js';
import type { Bind } from '../main.js';
import { type CommonOptions, openSystem, withCommonOptions } from '../options.js';
import type { Output } from '../output.js';
import { askedSystem, printSystem } from '../system.js';

export const validateCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('validate'))
    .summary('say what is wrong with a TD configuration')
    .description('Hold a TD configuration against what the host supports, and report everything that is wrong with it.')
    .argument('<config>', 'the configuration, a JSON file (schema/td.schema.json); - for standard input')
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl validate td.json
  $ echo '{"xfam": ["AVX512"]}' | tdxctl validate -
  $ tdxctl validate td.json --profile other-host.json     would it work there?

Exit code 1: no TD can be made of it.`,
    )
    .action(bind(validate));

async function validate(output: Output, path: string, options: CommonOptions): Promise<number> {
  const input = readUserJson(path, 'configuration');
  const { findConfigProblems } = await import('../config.js');
  using system = await openSystem(options);
  const findings = findConfigProblems(system, input);
  const ok = !findings.some(({ severity }) => severity === 'error');
  if (options.json) {
    output.json({ ...(await askedSystem(system)), ok, findings });
  } else {
    printSystem(output, system);
    printFindings(output, findings);
    const { green, red, bold } = output.colors;
    output.line(`${bold(ok ? green('valid') : red('not valid'))}: ${countFindings(findings)}`);
  }
  return ok ? EXIT.done : EXIT.no;
}
