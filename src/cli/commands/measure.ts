import { Command, Option } from 'commander';
import type { TdImage } from '../../image/index.js';
import type { MeasureOrder, MeasureStep } from '../../measure/index.js';
import { EXIT } from '../errors.js';
import { loadUserImage } from '../image.js';
import type { Bind } from '../main.js';
import { asksForModel, type CommonOptions, withCommonOptions } from '../options.js';
import { hex, type Output } from '../output.js';

interface MeasureCommandOptions extends CommonOptions {
  order: MeasureOrder;
  log?: boolean;
}

export const measureCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('measure'))
    .summary('compute the MRTD of an image, offline')
    .description(
      'Compute the MRTD that the TDX module gives a TD made of an image: TDVF firmware or a page list.\n' +
        'It depends on the image alone, so it needs no host: --backend and --profile change nothing.',
    )
    .argument('[image]', 'the image file, - for standard input; left out: the bundled minimal TD')
    .addOption(
      new Option('--order <order>', 'the order that --log shows').choices(['one-pass', 'two-pass']).default('one-pass'),
    )
    .option('--log', 'print every step of the measurement')
    .addHelpText(
      'after',
      `
Kernels differ in the order of the steps, and MRTD depends on it:
  one-pass  Linux 6.16 and newer: each page is added and measured before the next
  two-pass  kernels before it: all pages of a region are added, then all are measured

Examples:
  $ tdxctl measure /usr/share/ovmf/OVMF.fd
  $ tdxctl measure OVMF.fd --json | jq -r .mrtd
  $ tdxctl measure OVMF.fd --log > one.log     diff two of these to find the page that differs

Exit code 1: the image cannot be made into a TD.`,
    )
    .action(bind(measure));

async function measure(output: Output, path: string | undefined, options: MeasureCommandOptions): Promise<number> {
  asksForModel(options);
  const image = await loadUserImage(path);
  const { measureTd } = await import('../../measure/index.js');
  const steps: MeasureStep[] = [];
  if (options.log) measureTd(image, { order: options.order, log: (step) => steps.push(step) });
  const onePass = measureTd(image, { order: 'one-pass' });
  const twoPass = measureTd(image, { order: 'two-pass' });
  const { mrtd, pages, measuredBytes } = onePass;
  if (options.json) {
    output.json({
      image: { name: image.name, kind: image.kind },
      mrtd,
      mrtdTwoPass: twoPass.mrtd,
      pages,
      measuredBytes,
      regions: image.regions.map(({ name, gpa, size, measure, add }) => ({
        name,
        gpa,
        size,
        measured: measure,
        added: add,
      })),
      ...(options.log && { order: options.order, steps }),
    });
    return EXIT.done;
  }
  for (const { call, gpa, region } of steps) output.line(`${call.padEnd(16)}  ${hex(gpa)}  ${region}`);
  if (options.log) output.line();
  printImage(output, image);
  output.line(`${pages} pages added, the content of ${measuredBytes / 1024} KiB measured`);
  output.line();
  const { bold } = output.colors;
  output.line(`MRTD, Linux 6.16 and newer   ${bold(mrtd)}`);
  output.line(`MRTD, kernels before         ${twoPass.mrtd}`);
  return EXIT.done;
}

function printImage(output: Output, image: TdImage): void {
  output.line(`${image.name}: ${image.kind === 'tdvf' ? 'TDVF firmware' : 'page list'}`);
  const width = Math.max(...image.regions.map(({ name }) => name.length));
  for (const { name, gpa, size, measure, add } of image.regions) {
    const how = !add
      ? 'accepted by the TD when it runs'
      : measure
        ? 'address and content measured'
        : 'address measured';
    output.line(`  ${name.padEnd(width)}  ${hex(gpa).padEnd(12)} ${String(size / 1024).padStart(8)} KiB  ${how}`);
  }
}
