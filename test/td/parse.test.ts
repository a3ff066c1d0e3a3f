import { expect, test } from 'vitest';
import { TdConfigError } from '../../src/td/errors.js';
import { checkTdConfig, parseTdConfig } from '../../src/td/parse.js';

const said = (input: unknown) =>
  checkTdConfig(input).findings.map(({ rule, path, what, fix }) => [path, rule, what, fix].join(' | '));

test('an empty object is a configuration: every field has a default', () => {
  expect(parseTdConfig({})).toEqual({});
});

test('a full configuration comes back as it was given', () => {
  const config = {
    $schema: './td.schema.json',
    image: 'OVMF.fd',
    memory: '512MiB',
    vcpus: 2,
    maxVcpus: 4,
    attributes: ['SEPT_VE_DISABLE'],
    xfam: '0xe7',
    gpaw: 52,
    tscKhz: 2_000_000,
    mrConfigId: 'ab'.repeat(48),
    mrOwner: Buffer.alloc(48, 1).toString('base64'),
    mrOwnerConfig: `0x${'00'.repeat(48)}`,
    cpuidBase: 'host',
    cpuid: [{ leaf: '0x80000008', ebx: '0x200' }],
    features: { WBNOINVD: true, 'amx-bf16': 0, LOGICAL_CPUS: 4 },
  };
  expect(parseTdConfig(config)).toEqual(config);
});

test('programs may give bigint and bytes', () => {
  const config = { attributes: 1n << 63n, xfam: 3n, mrOwner: new Uint8Array(48) };
  expect(parseTdConfig(config)).toEqual(config);
});

test.each([
  [null, 'null'],
  [7, '7'],
  ['{}', '"{}"'],
  [[], 'a list of 0'],
])('%j is no configuration', (input, shown) => {
  expect(said(input)).toEqual([
    ` | config.type | found ${shown}, expected an object with the fields of a TD configuration | Give a value of the expected type`,
  ]);
});

test('an unknown key is named with the nearest one', () => {
  expect(said({ atributes: [], cpuid: [{ leaf: 1, eaz: 0 }], zzz: 1 })).toEqual([
    'atributes | config.unknown-key | "atributes" is not a field of the configuration | Write "attributes", or remove it',
    expect.stringMatching(/^zzz \| config.unknown-key \| .* \| Remove it; the fields are \$schema, image, /),
    'cpuid[0].eaz | config.unknown-key | "eaz" is not a field of the configuration | Write "eax", or remove it',
  ]);
});

test('an unknown name is answered with the one that was meant', () => {
  expect(said({ attributes: ['SEPT_VE'], xfam: ['AVX_512'], features: { amx_bf17: true } })).toEqual([
    expect.stringContaining('attributes[0] | config.unknown-name | "SEPT_VE" is not a name'),
    'xfam[0] | config.unknown-name | "AVX_512" is not a name that is known here | Write "AVX512"',
    expect.stringMatching(/^features.amx_bf17 \| config.unknown-name \| .* \| Write "AMX_BF16"$/),
  ]);
});

test('all errors are found, not only the first', () => {
  const findings = checkTdConfig({
    vcpus: 0,
    maxVcpus: 1.5,
    memory: '256MB',
    gpaw: 47,
    tscKhz: 2 ** 31,
    attributes: -1,
    xfam: '0xzz',
    mrConfigId: 'abcd',
    mrOwner: new Uint8Array(47),
    cpuid: [{ leaf: 2 ** 32 }, {}],
    features: { HLE: 'yes', RTM: 2, GPAW: true },
    image: '',
  }).findings;
  expect(findings.map(({ path, rule }) => `${path} ${rule}`).sort()).toEqual([
    'attributes config.range',
    'cpuid[0].leaf config.range',
    'cpuid[1].leaf config.type',
    'features.GPAW config.feature-width',
    'features.HLE config.type',
    'features.RTM config.feature-width',
    'gpaw config.range',
    'image config.range',
    'maxVcpus config.range',
    'memory config.text',
    'mrConfigId config.text',
    'mrOwner config.type',
    'tscKhz config.range',
    'vcpus config.range',
    'xfam config.text',
  ]);
});

test('what is wrong is said with the value and what was expected', () => {
  expect(said({ gpaw: 47 })).toEqual([
    'gpaw | config.range | found 47, expected 48 or 52 | Choose a number in the range',
  ]);
  expect(said({ mrOwner: 'zz' })[0]).toContain(
    'found "zz", expected 48 bytes: 96 hexadecimal digits, or 64 characters of base64',
  );
});

test('a feature under two of its names is refused', () => {
  expect(said({ features: { SHSTK: true, CET_SS: false } })).toEqual([
    'features.CET_SS | config.conflict | "CET_SS" and "SHSTK" are the same feature, CET_SS | Keep one of them',
  ]);
});

test('parts that are well-formed survive the others', () => {
  const { config } = checkTdConfig({ vcpus: 2, gpaw: 1, features: { WBNOINVD: true, NO_SUCH: true } });
  expect(config).toEqual({ vcpus: 2, features: { WBNOINVD: true } });
});

test('the error has every finding, and its text one line for each', () => {
  const parse = () => parseTdConfig({ vcpus: 0, gpaw: 1 });
  expect(parse).toThrow(TdConfigError);
  try {
    parse();
  } catch (error) {
    const { findings, message, code } = error as TdConfigError;
    expect(code).toBe('ERR_TD_CONFIG');
    expect(findings).toHaveLength(2);
    expect(message.split('\n')).toEqual([
      "The TD's configuration has 2 errors:",
      expect.stringContaining('error vcpus: found 0, expected a whole number from 1 to 4096.'),
      expect.stringContaining('error gpaw: found 1, expected 48 or 52.'),
    ]);
  }
});
