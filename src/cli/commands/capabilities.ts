import { Command } from 'commander';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import type { TdHostFacts } from '../../td/host-facts.js';
import { EXIT } from '../errors.js';
import type { Bind } from '../main.js';
import { type CommonOptions, openSystem, withCommonOptions } from '../options.js';
import { hex, type Output } from '../output.js';
import { askedSystem, printSystem } from '../system.js';

export const capabilitiesCommand = (bind: Bind): Command =>
  withCommonOptions(new Command('capabilities'))
    .summary('say what a TD may be configured with here')
    .description(
      'Say what a TD may be configured with here: what KVM_TDX_CAPABILITIES and KVM_CHECK_EXTENSION answer, by name.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ tdxctl capabilities
  $ tdxctl capabilities --json | jq '.cpuid[] | select(.leaf == "0x7")'
  $ tdxctl capabilities --profile other-host.json     of a host that was captured

Bits that are not listed are not for the host to choose: they follow the processor, XFAM, the attributes, or are fixed.`,
    )
    .action(bind(capabilities));

async function capabilities(output: Output, options: CommonOptions): Promise<number> {
  using system = await openSystem(options);
  const { gatherHostFacts } = await import('../../td/host-facts.js');
  const facts = gatherHostFacts(system);
  const names = await loadNames();
  if (options.json) {
    output.json({ ...(await askedSystem(system)), ...asJson(facts, names) });
  } else {
    printSystem(output, system);
    print(output, facts, names);
  }
  return EXIT.done;
}

async function loadNames() {
  const [attributes, xfam, bits, tsc, vcpus, cpuid, tdvmcall] = await Promise.all([
    import('../../td/attributes.js'),
    import('../../td/xfam.js'),
    import('../../td/bits.js'),
    import('../../td/tsc.js'),
    import('../../td/check/vcpus.js'),
    import('../../cpuid/names.js'),
    import('../../host/tdvmcall.js'),
  ]);
  return { ...attributes, ...xfam, ...bits, ...tsc, ...vcpus, ...cpuid, ...tdvmcall };
}

type Names = Awaited<ReturnType<typeof loadNames>>;

/** Set bits of a field with their names; a bit without one is `bit N`. */
function namedBits({ bitNumbers }: Names, table: Names['TD_ATTRIBUTES'] | Names['XFAM_FEATURES'], value: bigint) {
  const singles = Object.entries(table).filter(([, { bits }]) => bits.length === 1);
  return bitNumbers(value).map((bit) => {
    const [name, entry] = singles.find(([, { bits }]) => bits[0] === bit) ?? [`bit ${bit}`, { meaning: '' }];
    return { bit, name, meaning: entry.meaning };
  });
}

const vcpuReason = (facts: TdHostFacts, { maxVcpusReason }: Names): string =>
  facts.maxVcpusSettable
    ? 'a TD may be given its own limit, maxVcpus: this kernel takes KVM_ENABLE_CAP(KVM_CAP_MAX_VCPUS)'
    : maxVcpusReason(facts);

const tscRange = ({ TSC_UNIT_KHZ, TSC_KHZ_RANGE }: Names) => ({
  unitKhz: TSC_UNIT_KHZ,
  minKhz: TSC_KHZ_RANGE.min,
  maxKhz: TSC_KHZ_RANGE.max,
});

const widths = (fiveLevelEpt: boolean | undefined) => (fiveLevelEpt === false ? [48] : [48, 52]);

const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;

function asJson(facts: TdHostFacts, names: Names): object {
  const { capabilities: caps, maxVcpus, maxVcpusSettable, systemMaxVcpus, tscKhz, fiveLevelEpt } = facts;
  const only = (table: Parameters<typeof namedBits>[1], value: bigint) => ({
    value,
    names: namedBits(names, table, value).map(({ name }) => name),
  });
  return {
    attributes: only(names.TD_ATTRIBUTES, caps.supportedAttrs),
    xfam: only(names.XFAM_FEATURES, caps.supportedXfam),
    tdvmcallInfo: {
      kernelR11: caps.kernelTdvmcallinfo1R11,
      userR11: caps.userTdvmcallinfo1R11,
      kernelR12: caps.kernelTdvmcallinfo1R12,
      userR12: caps.userTdvmcallinfo1R12,
    },
    vcpus: { max: maxVcpus, settable: maxVcpusSettable, systemMax: systemMaxVcpus, reason: vcpuReason(facts, names) },
    tsc: { hostKhz: tscKhz, ...tscRange(names) },
    gpaw: { widths: widths(fiveLevelEpt), fiveLevelEpt: fiveLevelEpt ?? null },
    cpuid: caps.cpuid.map((entry) => ({
      leaf: hex(entry.function),
      subleaf: entry.index,
      ...Object.fromEntries(REGISTERS.map((register) => [register, hex(entry[register])])),
      bits: Object.fromEntries(
        REGISTERS.filter((register) => entry[register] !== 0).map((register) => [
          register,
          bitsText(names, entry, register),
        ]),
      ),
    })),
  };
}

const bitsText = (names: Names, entry: CpuidEntry, register: (typeof REGISTERS)[number]): string =>
  names.describeCpuidBits(entry.function, entry.index, register, entry[register]);

function print(output: Output, facts: TdHostFacts, names: Names): void {
  const { capabilities: caps, maxVcpus, tscKhz, fiveLevelEpt } = facts;
  const { bold, dim } = output.colors;
  const field = (title: string, table: Parameters<typeof namedBits>[1], value: bigint) => {
    output.line(`\n${bold(title)} ${hex(value)}`);
    for (const { bit, name, meaning } of namedBits(names, table, value)) {
      output.line(`  ${name.padEnd(16)} ${dim(`bit ${bit}`.padEnd(6))}  ${meaning}`);
    }
  };
  field('Attributes', names.TD_ATTRIBUTES, caps.supportedAttrs);
  field('XFAM', names.XFAM_FEATURES, caps.supportedXfam);

  output.line(`\n${bold('TDVMCALLs')} beyond the base set, by who answers them`);
  output.line(`  kernel           ${names.describeTdvmcalls(caps.kernelTdvmcallinfo1R11)}`);
  output.line(`  user space       ${names.describeTdvmcalls(caps.userTdvmcallinfo1R11)}`);

  output.line(`\n${bold('vCPUs')} of a TD: at most ${maxVcpus}`);
  output.line(`  ${vcpuReason(facts, names)}`);

  output.line(`\n${bold('TSC')} ${tscKhz ? `of the host: ${tscKhz} kHz` : 'of the host: not told'}`);
  const { unitKhz, minKhz, maxKhz } = tscRange(names);
  output.line(`  a TD's: ${minKhz} to ${maxKhz} kHz in steps of ${unitKhz}`);

  const ept = {
    true: '5-level EPT',
    false: 'no 5-level EPT',
    undefined: '52 needs 5-level EPT, which the kernel does not tell',
  };
  output.line(
    `\n${bold('Guest physical address width')} ${widths(fiveLevelEpt).join(' or ')}: ${ept[`${fiveLevelEpt}`]}`,
  );

  output.line(`\n${bold('CPUID')} bits that may be configured, in ${caps.cpuid.length} leaves`);
  for (const entry of caps.cpuid) printLeaf(output, entry, names);
}

function printLeaf(output: Output, entry: CpuidEntry, names: Names): void {
  const registers = REGISTERS.filter((register) => entry[register] !== 0);
  let place = `${hex(entry.function)}.${entry.index}`;
  if (registers.length === 0) output.line(`  ${place.padEnd(13)} ${output.colors.dim('no bits')}`);
  for (const register of registers) {
    const mask = `0x${entry[register].toString(16).padStart(8, '0')}`;
    output.line(`  ${place.padEnd(13)} ${register.toUpperCase()} ${mask}  ${bitsText(names, entry, register)}`);
    place = '';
  }
}
