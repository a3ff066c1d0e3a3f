import { rules } from './rule.js';

const source = 'schema/td.schema.json';

/** What a TD's configuration must look like before any host is asked: form, not fitness. */
export const CONFIG_RULES = rules({
  'config.type': {
    source,
    what: 'Every field has one of the types that the schema names',
    fix: 'Give a value of the expected type',
  },
  'config.unknown-key': {
    source,
    what: 'Only the fields of the schema are given',
    fix: 'Correct the name or remove the field',
  },
  'config.unknown-name': {
    source: 'src/td/attributes.ts, src/td/xfam.ts, src/cpuid/names.ts',
    what: 'Attributes, XFAM components and CPUID features are named as in the tables',
    fix: 'Correct the name, or give the number',
  },
  'config.range': {
    source,
    what: 'Numbers are whole, lie in the range of their field and, for sizes, are multiples of the page size',
    fix: 'Choose a number in the range',
  },
  'config.text': {
    source,
    what: 'Text that stands for a number, bytes or a size is written as its field asks',
    fix: 'Correct the spelling of the value',
  },
  'config.feature-width': {
    source: 'src/cpuid/names.ts',
    what: 'A value given to a CPUID feature fits its bits',
    fix: 'Give true or false to a bit, and to a field a number that fits',
  },
  'config.conflict': {
    source: 'src/td/resolve-cpuid.ts',
    what: 'No two parts of the configuration give different values to the same CPUID bits',
    fix: 'Keep one of them',
  },
  'config.vcpus-above-max': {
    source: 'src/td/schema.ts',
    what: 'vcpus is at most maxVcpus',
    fix: 'Raise maxVcpus or lower vcpus',
  },
});
