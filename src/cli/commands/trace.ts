import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import type { RequestRecord, TraceDiff, TraceDifference } from '../../wire/index.js';
import { EXIT, usageError } from '../errors.js';
import type { Bind } from '../main.js';
import type { Output } from '../output.js';

interface DiffOptions {
  questions?: boolean;
  json?: boolean;
}

export const traceCommand = (bind: Bind): Command =>
  new Command('trace').summary('compare traces of tdxctl with-mock').addCommand(
    new Command('diff')
      .summary('what one program asks of KVM and another does not')
      .description(
        'Compare two traces (tdxctl with-mock --trace FILE --trace-format json) by meaning: which requests one program\n' +
          'makes and the other does not, and which both make with different arguments or results. Addresses, descriptors,\n' +
          'times and process ids do not count.',
      )
      .argument('<a>', 'a trace in JSON lines')
      .argument('<b>', 'another')
      .option('--questions', 'compare requests that only ask, too, such as KVM_CHECK_EXTENSION')
      .option('--json', 'print JSON (docs/cli.md)')
      .addHelpText('after', '\nExit codes: 0 the traces mean the same, 1 they do not, 2 wrong use.')
      .action(bind(diff)),
  );

async function diff(output: Output, a: string, b: string, { questions, json }: DiffOptions): Promise<number> {
  const { diffTraces, parseTrace } = await import('../../wire/index.js');
  const read = (path: string): RequestRecord[] => {
    try {
      return parseTrace(readFileSync(path, 'utf8'), path);
    } catch (error) {
      throw usageError((error as Error).message);
    }
  };
  const result = diffTraces(read(a), read(b), { questions: questions ?? false });
  if (json) output.json(result);
  else print(output, result);
  return result.differences.length === 0 ? EXIT.done : EXIT.no;
}

function print(output: Output, { a, b, same, differences }: TraceDiff): void {
  for (const difference of differences) printDifference(output, difference);
  output.line(`${same} requests mean the same, of ${a} and ${b}; ${differences.length} differences`);
}

const show = (value: unknown): string => (value === undefined ? 'nothing' : JSON.stringify(value));

function printDifference({ colors, line }: Output, difference: TraceDifference): void {
  switch (difference.kind) {
    case 'only-a':
      line(colors.red(`- ${call(difference.record)}`));
      break;
    case 'only-b':
      line(colors.green(`+ ${call(difference.record)}`));
      break;
    case 'changed':
      line(`~ ${difference.a.object} ${difference.a.request}`);
      for (const { field, a, b } of difference.fields)
        line(`    ${field}: ${colors.red(show(a))} ${colors.green(show(b))}`);
  }
}

const call = ({ object, request, args, result, errno }: RequestRecord): string =>
  `${object} ${request} ${JSON.stringify(args)} = ${errno ?? result}`;
