// Values that are wrong in some way, as recipes: what they are depends on the backend that is tested.
import fc from 'fast-check';

const detached = () => {
  const bytes = new Uint8Array(4096);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};

const resizable = (shrink) => {
  const buffer = new ArrayBuffer(4096, { maxByteLength: 8192 });
  const bytes = new Uint8Array(buffer, shrink ? 1024 : 0);
  if (shrink) buffer.resize(512); // the view is now out of bounds
  return bytes;
};

const withFakeLength = () => Object.defineProperty(new Uint8Array(4), 'length', { value: 2 ** 40 });

const fixed = {
  undefined: undefined,
  null: null,
  true: true,
  NaN: Number.NaN,
  '-0': -0,
  '-1': -1,
  0: 0,
  0.5: 0.5,
  1: 1,
  4095: 4095,
  4096: 4096,
  8192: 8192,
  '2^31': 2 ** 31,
  '2^32-1': 2 ** 32 - 1,
  '2^32': 2 ** 32,
  '2^53-1': 2 ** 53 - 1,
  '2^53': 2 ** 53,
  Infinity: Number.POSITIVE_INFINITY,
  '-1n': -1n,
  '0n': 0n,
  '1n': 1n,
  '4096n': 4096n,
  '2n**63n': 1n << 63n,
  '2n**64n-1n': (1n << 64n) - 1n,
  '2n**64n': 1n << 64n,
  '2n**70n': 1n << 70n,
  "''": '',
  "'1'": '1',
  symbol: Symbol('odd'),
};

const made = {
  function: () => () => 1,
  '{}': () => ({}),
  '{ valueOf }': () => ({ valueOf: () => 1 }),
  '[]': () => [],
  '[1n]': () => [1n],
  'an array with a hole': () => Object.assign(new Array(2), { 1: {} }),
  'an array of 2^32-1 holes': () => new Array(2 ** 32 - 1),
  'Uint8Array(16)': () => new Uint8Array(16),
  'Uint8Array(48)': () => new Uint8Array(48),
  'Uint8Array(8193)': () => new Uint8Array(8193),
  'a detached Uint8Array': detached,
  'a resizable Uint8Array': () => resizable(false),
  'a Uint8Array out of bounds': () => resizable(true),
  'a shared Uint8Array': () => new Uint8Array(new SharedArrayBuffer(64)),
  'a Uint8Array that lies': withFakeLength,
  'BigUint64Array(4)': () => new BigUint64Array(4),
  'ArrayBuffer(64)': () => new ArrayBuffer(64),
  'DataView(64)': () => new DataView(new ArrayBuffer(64)),
  'a proxy of Uint8Array': () => new Proxy(new Uint8Array(16), {}),
  'Object.create(Uint8Array.prototype)': () => Object.create(Uint8Array.prototype),
  AbortController: () => new AbortController(),
  'an aborted signal': () => AbortSignal.abort(),
  'Object.create(AbortSignal.prototype)': () => Object.create(AbortSignal.prototype),
  'a signal that is none': () => Object.create(AbortSignal.prototype, { aborted: { value: false } }),
  'its memory': (world) => world.memory,
  'its guest_memfd': (world) => world.memfd,
  'its vm': (world) => world.vm,
  'its vcpu': (world) => world.vcpu,
  'closed memory': (world) => world.closedMemory,
  'a closed guest_memfd': (world) => world.closedMemfd,
  'memory of another system': (world) => world.foreign.memory,
  'closed memory of another system': (world) => world.foreign.closedMemory,
  'a guest_memfd of another VM': (world) => world.foreign.memfd,
  'memory of the other backend': (world) => world.otherBackend().memory,
  'a guest_memfd of the other backend': (world) => world.otherBackend().memfd,
  'a proxy of its memory': (world) => world.memory && new Proxy(world.memory, {}),
  "an object with memory's prototype": (world) => Object.create(Object.getPrototypeOf(world.memory)),
};

/** { label, make(world) } */
const recipes = [
  ...Object.entries(fixed).map(([label, value]) => ({ label, make: () => value })),
  ...Object.entries(made).map(([label, make]) => ({ label, make })),
];

export const oddValue = fc.constantFrom(...recipes);

/** As often one of these as anything. */
const mostly = (...labels) =>
  fc.oneof(oddValue, fc.constantFrom(...recipes.filter(({ label }) => labels.includes(label))));
export const oddNumber = mostly('0', '1', '4095', '4096', '8192', '2^32-1');
export const oddBigint = mostly('0n', '1n', '4096n', '2n**64n-1n');
export const oddBytes = mostly(
  'Uint8Array(16)',
  'Uint8Array(8193)',
  'a resizable Uint8Array',
  'a Uint8Array that lies',
);

const valid = (label, make) => ({ label, make });

/** A valid record with up to three fields replaced, or anything else. `base(world)` makes the valid one. */
export const oddRecord = (fields, base) =>
  fc.oneof(
    { weight: 1, arbitrary: oddValue },
    {
      weight: 6,
      arbitrary: fc.dictionary(fc.constantFrom(...fields), oddValue, { maxKeys: 3 }).map((changes) =>
        valid(`{ ...valid, ${Object.entries(changes).map(([field, { label }]) => `${field}: ${label}`)} }`, (world) => {
          const record = base(world);
          for (const [field, { make }] of Object.entries(changes)) {
            const path = field.split('.');
            const last = path.pop();
            let inner = record;
            for (const step of path) inner = inner[step] ??= {};
            inner[last] = make(world);
          }
          return record;
        }),
      ),
    },
  );

export const oddList = (element) =>
  fc.oneof(
    { weight: 1, arbitrary: oddValue },
    {
      weight: 4,
      arbitrary: fc
        .array(element, { maxLength: 5 })
        .map((elements) =>
          valid(`[${elements.map(({ label }) => label)}]`, (world) => elements.map(({ make }) => make(world))),
        ),
    },
  );
