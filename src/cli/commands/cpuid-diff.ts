import { existsSync } from 'node:fs';
import { Command } from 'commander';
import type { DiffSide } from '../../cpuid/questions/index.js';
import { type CpuidOptions, openCpuidHost, profileCpuidHost } from '../cpuid-host.js';
import { movedJson, printMoved, printSubject, subjectOf, withCpuidOptions } from '../cpuid-output.js';
import { EXIT, usageError } from '../errors.js';
import { readUserJson } from '../files.js';
import type { Bind } from '../main.js';
import type { Output } from '../output.js';

interface DiffCommandOptions extends CpuidOptions {
  kinds?: boolean;
}

export const diffCommand = (bind: Bind): Command =>
  withCpuidOptions(new Command('diff'))
    .summary('what guests find otherwise on two hosts, modules or configurations')
    .description(
      'Say what guests find otherwise, and why, on two hosts (profiles), module versions, or with two configurations.',
    )
    .argument('<a>', 'a profile, a module version, or a configuration (a JSON file)')
    .argument('<b>', 'the same')
    .option('--kinds', 'also bits that have the same value and come about otherwise')
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl cpuid diff spr-1.5.05 spr-1.5.06          two hosts
  $ tdxctl cpuid diff 1.5.05 1.5.06 --kinds          two modules
  $ tdxctl cpuid diff old.json new.json              two configurations on this host

Exit code 1: they differ.`,
    )
    .action(bind(diff));

/** What the user named: the most particular thing first. */
async function side(text: string, options: CpuidOptions): Promise<DiffSide> {
  const { bundledVersions } = await import('../../cpuid/index.js');
  const { listProfiles } = await import('../../mock/index.js');
  if (listProfiles().includes(text)) return { host: await profileCpuidHost(text, options.module) };
  if (bundledVersions().includes(text)) {
    if (options.profile !== undefined) return { host: await profileCpuidHost(options.profile, text) };
    const { cpuidHostOfModule } = await import('../../cpuid/questions/index.js');
    return { host: cpuidHostOfModule(text) };
  }
  if (!existsSync(text)) {
    const known = [...listProfiles(), ...bundledVersions()].join(', ');
    throw usageError(`'${text}' is no file, profile or module version`, `There are ${known}.`);
  }
  const document = readUserJson(text, 'profile, rules document or configuration') as Record<string, unknown>;
  if (document['tdParams'] !== undefined) return { host: await openCpuidHost({ ...options, module: text }) };
  if (document['platform'] !== undefined) return { host: await profileCpuidHost(text, options.module) };
  const { parseTdConfig } = await import('../../td/index.js');
  return { host: await openCpuidHost(options), config: parseTdConfig(document) };
}

async function diff(output: Output, a: string, b: string, options: DiffCommandOptions): Promise<number> {
  const { diffCpuid } = await import('../../cpuid/questions/index.js');
  const [one, other] = [await side(a, options), await side(b, options)];
  const { bits, kinds, ...sides } = diffCpuid(one, other);
  if (options.json) {
    output.json({
      a: { ...subjectOf(one.host), accepted: sides.a.accepted },
      b: { ...subjectOf(other.host), accepted: sides.b.accepted },
      bits: bits.map(movedJson),
      kinds: kinds.map(movedJson),
    });
  } else {
    printSubject(output, one.host);
    printSubject(output, other.host);
    output.line(bits.length === 0 ? 'Guests find the same.' : `Guests find ${bits.length} fields otherwise:`);
    printMoved(output, bits, true);
    if (options.kinds) {
      output.line(`\nThe same value, come about otherwise: ${kinds.length} fields`);
      printMoved(output, kinds, true);
    }
  }
  return bits.length === 0 ? EXIT.done : EXIT.no;
}
