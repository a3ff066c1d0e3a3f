import * as v from 'valibot';
import { TD_ATTRIBUTES } from './attributes.js';
import type { NamedBitsTable } from './bits.js';
import { FEATURES_JSON_SCHEMA } from './feature-schema.js';
import { XFAM_FEATURES } from './xfam.js';

// The one source of TdConfig, of its check at run time and of schema/td.schema.json (scripts/write-schema.mjs).
// A message says what was expected and completes "Give ..."; types that JSON lacks stay out of the published schema.

const u64Expected = 'a whole number from 0 to 2^53-1 or a hexadecimal string such as "0x10000000"';
const u64 = [
  v.pipe(v.number(u64Expected), v.safeInteger(u64Expected), v.minValue(0, u64Expected)),
  v.pipe(v.string(u64Expected), v.regex(/^0[xX][0-9a-fA-F]{1,16}$/, u64Expected)),
  v.pipe(v.bigint(u64Expected), v.minValue(0n, u64Expected), v.maxValue(0xffff_ffff_ffff_ffffn, u64Expected)),
] as const;

const namesOf = <T extends NamedBitsTable>(table: T) => Object.keys(table) as (keyof T & string)[];

/** A list of names of `table`, or the number itself. */
function namedBits<T extends NamedBitsTable>(table: T) {
  const names = namesOf(table);
  const expected = `a list of names, or ${u64Expected}`;
  return v.union([v.array(v.picklist(names, `one of ${names.join(', ')}`), expected), ...u64], expected);
}

const u32Expected = 'a whole number from 0 to 0xffffffff, or a hexadecimal string such as "0x80000008"';
const u32 = v.union(
  [
    v.pipe(
      v.number(u32Expected),
      v.safeInteger(u32Expected),
      v.minValue(0, u32Expected),
      v.maxValue(0xffff_ffff, u32Expected),
    ),
    v.pipe(v.string(u32Expected), v.regex(/^0[xX][0-9a-fA-F]{1,8}$/, u32Expected)),
  ],
  u32Expected,
);

const bytes48Expected = '48 bytes: 96 hexadecimal digits, or 64 characters of base64';
const bytes48 = v.union(
  [
    v.pipe(v.string(bytes48Expected), v.regex(/^(?:(?:0[xX])?[0-9a-fA-F]{96}|[A-Za-z0-9+/]{64})$/, bytes48Expected)),
    v.pipe(
      v.instance(Uint8Array, bytes48Expected),
      v.check((bytes) => bytes.length === 48, bytes48Expected),
    ),
  ],
  bytes48Expected,
);

const count = (max: number, expected: string) =>
  v.pipe(v.number(expected), v.safeInteger(expected), v.minValue(1, expected), v.maxValue(max, expected));

const register = (name: string, what: string) =>
  v.exactOptional(v.pipe(u32, v.title(name), v.description(`${what}; left out: the default of cpuidBase`)));

const cpuidEntry = v.pipe(
  v.strictObject(
    {
      leaf: v.pipe(u32, v.title('Leaf'), v.description('The EAX input of CPUID'), v.examples([7, '0x80000008'])),
      subleaf: v.exactOptional(
        v.pipe(
          u32,
          v.title('Sub-leaf'),
          v.description('The ECX input of CPUID; left out: 0, or a leaf without sub-leaves'),
        ),
      ),
      eax: register('EAX', 'Value of EAX'),
      ebx: register('EBX', 'Value of EBX'),
      ecx: register('ECX', 'Value of ECX'),
      edx: register('EDX', 'Value of EDX'),
    },
    'an object such as {"leaf": 7, "subleaf": 1, "eax": "0x1c30"}',
  ),
  v.title('CPUID entry'),
);

export const featuresExpected = 'an object such as {"AMX_BF16": true, "CLFLUSH_SIZE": 8}';
const featureValueExpected = 'true, false or a whole number from 0 to 0xffffffff';
const features = v.pipe(
  v.record(
    v.string(),
    v.union(
      [
        v.boolean(featureValueExpected),
        v.pipe(
          v.number(featureValueExpected),
          v.safeInteger(featureValueExpected),
          v.minValue(0, featureValueExpected),
          v.maxValue(0xffff_ffff, featureValueExpected),
        ),
      ],
      featureValueExpected,
    ),
    featuresExpected,
  ),
);

const memoryExpected =
  'a size in bytes that is a multiple of 4096, or text such as "256MiB" (KiB, MiB, GiB or TiB), from 4 KiB to 8 TiB';
const memory = v.union(
  [
    v.pipe(
      v.number(memoryExpected),
      v.safeInteger(memoryExpected),
      v.minValue(4096, memoryExpected),
      v.maxValue(2 ** 43, memoryExpected),
      v.multipleOf(4096, memoryExpected),
    ),
    v.pipe(v.string(memoryExpected), v.regex(/^[1-9][0-9]{0,12} ?[KMGT]iB$/, memoryExpected)),
  ],
  memoryExpected,
);

export const configExpected = 'an object with the fields of a TD configuration';

export const TdConfigSchema = v.pipe(
  v.strictObject(
    {
      $schema: v.exactOptional(
        v.pipe(v.string('the address of a JSON Schema'), v.description('For editors; not read')),
      ),
      image: v.exactOptional(
        v.pipe(
          v.string('the path of a file'),
          v.minLength(1, 'the path of a file'),
          v.title('Image'),
          v.description(
            'Path of the TDVF firmware or TD image that the TD starts with. Left out: the minimal TD of this package.',
          ),
          v.examples(['/usr/share/ovmf/OVMF.fd']),
        ),
      ),
      memory: v.exactOptional(
        v.pipe(
          memory,
          v.title('Memory'),
          v.description('Memory of the TD, bytes or text such as "256MiB". Left out: 256MiB.'),
          v.examples(['256MiB']),
        ),
      ),
      vcpus: v.exactOptional(
        v.pipe(
          count(4096, 'a whole number from 1 to 4096'),
          v.title('vCPUs'),
          v.description('vCPUs to create, with ids 0, 1, 2 and so on. Left out: 1.'),
        ),
      ),
      maxVcpus: v.exactOptional(
        v.pipe(
          count(4096, 'a whole number from 1 to 4096'),
          v.title('Maximum vCPUs'),
          v.description(
            'TD_PARAMS.MAX_VCPUS: vCPUs that the TD may ever have. Left out: what the kernel gives the VM. Where the kernel ' +
              'fixes it, a higher number is refused and a lower one is kept by this library only.',
          ),
        ),
      ),
      attributes: v.exactOptional(
        v.pipe(
          namedBits(TD_ATTRIBUTES),
          v.title('ATTRIBUTES'),
          v.description(
            'TD attributes by name, or all 64 bits as a number; part of what a quote attests. ' +
              'Left out: SEPT_VE_DISABLE, which Linux guests need, where the host supports it.',
          ),
          v.examples([['SEPT_VE_DISABLE'], '0x10000000']),
        ),
      ),
      xfam: v.exactOptional(
        v.pipe(
          namedBits(XFAM_FEATURES),
          v.title('XFAM'),
          v.description(
            'Extended processor state that the TD may use, by name or as a number; part of what a quote attests. X87 and SSE are ' +
              'always added. Left out: everything that the host supports, so that the guest has AVX, AVX-512 and AMX where the ' +
              'host has them; give it to get the same XFAM on every host.',
          ),
          v.examples([['AVX', 'AVX512', 'AMX'], '0x602e7']),
        ),
      ),
      gpaw: v.exactOptional(
        v.pipe(
          v.picklist([48, 52], '48 or 52'),
          v.title('Guest physical address width'),
          v.description(
            'Bits of a guest physical address, the top one being SHARED; 52 needs 5-level EPT. KVM takes it from ' +
              'CPUID(0x80000008).EAX[23:16], which this library fills for the TD and for its vCPUs. Left out: 48.',
          ),
        ),
      ),
      tscKhz: v.exactOptional(
        v.pipe(
          count(0x7fff_fffe, 'a frequency in kHz, a whole number from 1 to 2147483646'),
          v.title('TSC frequency in kHz'),
          v.description(
            "Frequency of the TD's TSC: a multiple of 25000 (25 MHz) from 100000 to 10000000. " +
              "Left out: the host's, rounded down to such a multiple.",
          ),
          v.examples([2_100_000]),
        ),
      ),
      mrConfigId: v.exactOptional(
        v.pipe(
          bytes48,
          v.title('MRCONFIGID'),
          v.description('48 bytes that identify the configuration of the TD in a quote. Left out: zeros.'),
        ),
      ),
      mrOwner: v.exactOptional(
        v.pipe(
          bytes48,
          v.title('MROWNER'),
          v.description('48 bytes that identify the owner of the TD in a quote. Left out: zeros.'),
        ),
      ),
      mrOwnerConfig: v.exactOptional(
        v.pipe(
          bytes48,
          v.title('MROWNERCONFIG'),
          v.description("48 bytes that identify the owner's configuration in a quote. Left out: zeros."),
        ),
      ),
      cpuidBase: v.exactOptional(
        v.pipe(
          v.picklist(['host', 'zero'], '"host" or "zero"'),
          v.title('CPUID default'),
          v.description(
            'Where configurable CPUID bits come from that neither cpuid nor features gives. "host": KVM_GET_SUPPORTED_CPUID masked ' +
              'with the configurable bits, and a topology of `vcpus` cores in one package, as QEMU does for "-cpu host": what ' +
              'operating systems expect. "zero": none, the smallest TD; bits that the module fixes are there all the same. ' +
              'Left out: "host".',
          ),
        ),
      ),
      cpuid: v.exactOptional(
        v.pipe(
          v.array(cpuidEntry, 'a list of CPUID entries'),
          v.title('CPUID by leaf'),
          v.description(
            'CPUID values by leaf and sub-leaf. Only bits that KVM_TDX_CAPABILITIES lists can be configured.',
          ),
        ),
      ),
      features: v.exactOptional(
        v.pipe(
          features,
          v.title('CPUID by name'),
          v.description(
            'CPUID values by the name of the feature or field: true or false for a bit, a number for a field. ' +
              'Any letter case and the aliases are understood.',
          ),
          v.examples([{ AMX_BF16: true, WBNOINVD: false }]),
          v.metadata(FEATURES_JSON_SCHEMA),
        ),
      ),
    },
    configExpected,
  ),
  v.title('TD configuration'),
  v.description('Configuration of a Trust Domain for kvm-tdx and tdxctl. Every field has a default.'),
);

/** A TD's configuration as users write it; see schema/td.schema.json for every field and its default. */
export type TdConfig = v.InferInput<typeof TdConfigSchema>;
