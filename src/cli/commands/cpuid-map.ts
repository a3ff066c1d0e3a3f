import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import type { MapLeaf, MapRegister } from '../../cpuid/map/map.js';
import type { RegisterBits } from '../../cpuid/questions/index.js';
import { type CpuidOptions, openCpuidHost } from '../cpuid-host.js';
import { placeJson, printSubject, subjectOf, withCpuidOptions } from '../cpuid-output.js';
import { EXIT, usageError } from '../errors.js';
import { readUserJson } from '../files.js';
import { printFindings } from '../findings.js';
import type { Bind } from '../main.js';
import { hex, type Output } from '../output.js';

interface MapOptions extends CpuidOptions {
  html?: string;
}

export const mapCommand = (bind: Bind): Command =>
  withCpuidOptions(new Command('map'))
    .summary('every bit of CPUID as a grid, by what decides it')
    .description(
      'Draw every leaf and register as a grid of 32 cells, by what decides each bit, with the requested and resulting values.',
    )
    .argument('[config]', 'the configuration, a JSON file; - for standard input; left out: the defaults')
    .option('--html <file>', 'write a page with names, reasons, filters and search; it needs no network')
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl cpuid map                            a TD made with the defaults
  $ tdxctl cpuid map td.json --html map.html    for a browser
  $ tdxctl cpuid map --module 1.5.06            what the module alone decides

Exit code 1: no TD comes of the configuration; the map shows how far it would have come.`,
    )
    .action(bind(map));

async function map(output: Output, path: string | undefined, options: MapOptions): Promise<number> {
  const input = path === undefined ? {} : readUserJson(path, 'configuration');
  const { parseTdConfig } = await import('../../td/index.js');
  const { evaluateCpuid } = await import('../../cpuid/questions/index.js');
  const { cpuidMap } = await import('../../cpuid/map/map.js');
  const config = parseTdConfig(input);
  const host = await openCpuidHost(options);
  const evaluation = evaluateCpuid(host, config);
  const leaves = cpuidMap(evaluation);
  const { accepted, findings } = evaluation;
  if (options.html !== undefined) {
    const { mapPage } = await import('../cpuid-map-page.js');
    writePage(options.html, mapPage(evaluation, leaves));
  }
  if (options.json) output.json({ ...subjectOf(host), accepted, leaves: leaves.map(leafJson) });
  else {
    printSubject(output, host);
    printFindings(output, findings);
    if (options.html !== undefined) output.line(`written: ${options.html}`);
    else {
      const { mapLines } = await import('../cpuid-map-grid.js');
      for (const line of mapLines(leaves, output.colors.isColorSupported)) output.line(line);
    }
  }
  return accepted === false ? EXIT.no : EXIT.done;
}

function writePage(path: string, page: string): void {
  try {
    writeFileSync(path, page);
  } catch (error) {
    throw usageError(`cannot write the page '${path}': ${(error as Error).message}`);
  }
}

const masks = <T extends object>(bits: T | undefined) =>
  bits === undefined ? null : Object.fromEntries(Object.entries(bits).map(([name, mask]) => [name, hex(mask)]));

const leafJson = ({ leaf, subleaf, registers }: MapLeaf) => ({
  leaf: hex(leaf),
  subleaf,
  registers: registers.map(({ register, requested, stored, guest, fields }: MapRegister) => ({
    register,
    requested: masks(requested),
    stored: masks<RegisterBits>(stored),
    guest: masks(guest),
    fields: fields.map(({ kind, reason, meaning, ...at }) => {
      const { bits, name } = placeJson({ leaf, subleaf, register, ...at });
      return { bits, ...(name !== undefined && { name, meaning }), kind, reason };
    }),
  })),
});
