import type { RulesDocument } from '../document.js';
import type { BitOrigin, Condition } from '../origin.js';
import { type Bits, isKnown, ONE, truth } from '../partial/bits.js';
import type { PartialParams } from '../partial/evaluate.js';
import type { PartialHost } from '../partial/host.js';

/** A bit of a configuration on a host. */
export interface BitContext {
  partial: PartialHost;
  params: PartialParams;
  entry: number;
  register: number;
  bit: number;
  origin: BitOrigin;
  /** What TDH.MNG.INIT made of the configuration. */
  virtual: readonly Bits[];
}

/** Name of a bit of a field: `AVX`, `bit 3`. */
export function bitName(document: RulesDocument, field: string, bit: number): string {
  const found = Object.entries(document.names[field] ?? {}).find(([, number]) => number === bit);
  return found ? found[0] : `bit ${bit}`;
}

const bitsOf = (mask: bigint): number[] =>
  Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (mask >> BigInt(bit)) & 1n);

const NAMES: Readonly<Record<string, string>> = {
  xfam: 'XFAM',
  attributes: 'ATTRIBUTES',
  config_flags: 'CONFIG_FLAGS',
  tsc_frequency: 'the TSC frequency of the TD',
  td_ctls: 'TD_CTLS',
  cr4: 'CR4',
  xcr0: 'XCR0',
  xss: 'IA32_XSS',
  vcpu_index: 'the index of the vCPU',
  x2apic_id: 'the x2APIC id',
  tsx_cpuid_clear: 'IA32_TSX_CTRL.TSX_CPUID_CLEAR',
  long_mode: '64-bit mode',
  FMS: "the processor's family, model and stepping",
  MAXPA: "the processor's MAXPA",
};

const fieldName = (name: string): string => NAMES[name] ?? name;

/** A condition with the fields under the specification's names: `XFAM.LBR`. */
const conditionText = ({ text }: Condition): string =>
  text.replace(/\b(xfam|attributes|config_flags|td_ctls)\b/g, (name) => fieldName(name));

const REGISTER = ['EAX', 'EBX', 'ECX', 'EDX'];

/** What a condition looks at, in words: `ATTRIBUTES.PERFMON, CPUID(0x7,1).EAX`. */
export function describeReferences(document: RulesDocument, { references }: Condition): string {
  const { names, guest, registers } = references;
  const fields = [...names, ...guest].flatMap(([name, mask]) => {
    const named = document.names[name];
    if (!named) return [fieldName(name)];
    const bits = bitsOf(mask).filter((bit) => bitName(document, name, bit) !== `bit ${bit}`);
    const few = bits.length > 0 && bits.length <= 4;
    return few ? bits.map((bit) => `${fieldName(name)}.${bitName(document, name, bit)}`) : [fieldName(name)];
  });
  const places = registers.map(({ of, leaf, subleaf, register }) => {
    const place = `CPUID(0x${leaf.toString(16)}${subleaf ? `,${subleaf}` : ''}).${REGISTER[register]}`;
    return of === 'virtual' ? place : `${of} ${place}`;
  });
  return [...new Set([...fields, ...places])].join(', ');
}

/** Bits of XFAM that are missing, or not known to be there. */
function missingXfam({ partial, params, origin }: BitContext): { missing: string[]; open: string[] } {
  const xfam = params.fields.get('xfam')!;
  const { document } = partial.rules;
  const names = (bits: readonly number[]) => bits.map((bit) => bitName(document, 'xfam', bit));
  const is = (part: bigint) => (bit: number) => ((part >> BigInt(bit)) & 1n) === 1n;
  const missing = origin.xfam.filter((bit) => !is(xfam.value)(bit) && !is(xfam.unknown)(bit));
  return { missing: names(missing), open: names(origin.xfam.filter(is(xfam.unknown))) };
}

function sourceText({ partial, params, entry, register, bit, origin }: BitContext): string {
  const at = (value: Bits): 0 | 1 | undefined => {
    if (((value.unknown | value.guest) >> BigInt(bit)) & 1n) return undefined;
    return (value.value >> BigInt(bit)) & 1n ? 1 : 0;
  };
  const slot = entry * 4 + register;
  const wanted = at(params.config[slot]!);
  const native = at(partial.native[slot]!);
  const asked = wanted === undefined ? "as the host's default, which is not known" : `asked for ${wanted}`;
  switch (origin.source) {
    case 'fixed 0':
    case 'fixed 1':
      return `fixed by module ${partial.rules.module}`;
    case 'configured':
      return wanted === undefined ? `configured: ${asked}` : 'as configured';
    case 'allowed': {
      const has =
        native === undefined
          ? 'whether the processor has it is not known'
          : `the processor ${native ? 'has' : 'lacks'} it`;
      return wanted === 0 ? 'allowed, and not asked for' : `allowed: ${asked}, and ${has}`;
    }
    case 'native':
      return native === undefined ? 'as the processor has it, which is not known' : 'as the processor has it';
  }
}

function evaluate({ partial, params, virtual }: BitContext, { code }: Condition): Bits {
  const names = new Map([...partial.values, ...params.fields]);
  return truth(code(partial.scope(names, [...virtual], params.config, params.zeros ?? (() => ONE))));
}

/** Why the TD's control structure has the bit as it has. */
function storedText(context: BitContext): string {
  const { origin, partial } = context;
  const { document } = partial.rules;
  if (origin.set) {
    const on = describeReferences(document, origin.set);
    if (origin.kind === 'fixed') return `fixed by module ${partial.rules.module}`;
    return `from ${on}: ${origin.set.text}`;
  }
  if (origin.topology && origin.source !== 'configured') return 'from the topology in CPUID leaf 0x1F';
  if (origin.source === 'fixed 0') return sourceText(context);
  const { missing, open } = missingXfam(context);
  if (missing.length > 0) return `0: XFAM lacks ${missing.join(', ')}`;
  if (origin.only) {
    const holds = evaluate(context, origin.only);
    if (isKnown(holds) && !holds.value) return `0: the leaf is there only with ${conditionText(origin.only)}`;
    if (!isKnown(holds))
      return `there only with ${conditionText(origin.only)}, which is not known; then ${sourceText(context)}`;
  }
  if (open.length > 0)
    return `there only with XFAM ${open.join(', ')}, which is not known; then ${sourceText(context)}`;
  const gates = [
    ...(origin.xfam.length > 0 ? [`XFAM has ${origin.xfam.map((b) => bitName(document, 'xfam', b)).join(', ')}`] : []),
    ...(origin.only ? [`${conditionText(origin.only)} holds`] : []),
  ];
  return [sourceText(context), ...gates].join('; ');
}

/** Whether what the guest finds depends on what the TD has in the same bit. */
const looksAtItself = ({ partial, entry, register, bit }: BitContext, { references }: Condition): boolean =>
  references.registers.some(
    ({ of, leaf, register: r, mask }) =>
      of === 'virtual' && leaf === partial.rules.entries[entry]!.leaf && r === register && ((mask >>> bit) & 1) === 1,
  );

/** Why a guest finds the bit as it does, one sentence. */
export function reasonOf(context: BitContext): string {
  const { origin, partial } = context;
  const { document } = partial.rules;
  if (origin.faulting) return "CPUID gives a #VE: the guest's handler decides, most ask the VMM";
  if (origin.ve) {
    const by = describeReferences(document, origin.ve);
    return `#VE unless the guest opts in by ${by}; then ${storedText(context)}`;
  }
  if (origin.guest) {
    const dynamic = `shows ${describeReferences(document, origin.guest)}: ${origin.guest.text}`;
    return looksAtItself(context, origin.guest) ? `${dynamic}; the TD's own: ${storedText(context)}` : dynamic;
  }
  return storedText(context);
}
