// node odd-handles.mjs SEED RUNS: what the addon itself exports, below every check of TypeScript, with odd arguments on odd
// objects. Nothing may crash, and nothing but TypeError, RangeError, KvmError and KvmStateError may come back.
import fc from 'fast-check';
import { loadAddon } from '../../../dist/native/loader.js';
import { oddBigint, oddBytes, oddNumber, oddValue } from '../../contract/children/odd-values.mjs';

const { addon } = loadAddon();
const anything = fc.oneof(oddValue, oddNumber, oddBigint, oddBytes);
const numbers = (type, length) =>
  fc.oneof(oddValue, fc.constant({ label: `${type.name}(${length})`, make: () => new type(length) }));
const handle = (name) => fc.oneof(oddValue, fc.constant({ label: name, make: (world) => world[name] }));
const slot = [oddNumber, oddNumber, oddBigint, oddNumber, handle('memory'), oddNumber];

const methods = {
  addon: { openSystem: [oddValue], cpuid: [oddNumber, oddNumber] },
  system: {
    getApiVersion: [],
    checkExtension: [oddNumber],
    getVcpuMmapSize: [],
    getSupportedCpuid: [],
    createVm: [oddNumber],
    createMemory: [oddNumber],
    isClosed: [],
  },
  vm: {
    checkExtension: [oddNumber],
    enableCap: [oddNumber, oddNumber, numbers(BigUint64Array, 4)],
    createVcpu: [oddNumber],
    setTscKhz: [oddNumber],
    getTscKhz: [],
    setUserMemoryRegion: slot,
    setUserMemoryRegion2: [...slot, handle('memfd'), oddNumber],
    createGuestMemfd: [oddNumber, oddBigint],
    setMemoryAttributes: [oddBigint, oddBigint, oddBigint],
    setTssAddr: [oddNumber],
    setIdentityMapAddr: [oddBigint],
    tdxCapabilities: [],
    tdxInitVm: [oddBigint, oddBigint, numbers(Uint8Array, 144), numbers(Uint32Array, 14)],
    tdxFinalizeVm: [],
    tdxTerminateVm: [],
    isClosed: [],
  },
  vcpu: {
    setCpuid2: [numbers(Uint32Array, 14)],
    getRegs: [],
    setRegs: [numbers(BigUint64Array, 18)],
    getSregs: [],
    setSregs: [numbers(BigUint64Array, 107)],
    tdxInitVcpu: [oddBigint],
    tdxInitMemRegion: [handle('memory'), oddNumber, oddBigint, oddNumber, oddValue],
    tdxGetCpuid: [],
    run: [oddBytes, oddBigint, numbers(BigUint64Array, 4), numbers(Uint32Array, 4), oddValue],
    interrupt: [],
    takePortOutput: [],
    isClosed: [],
  },
  memory: { read: [oddNumber, oddBytes], write: [oddNumber, oddBytes], discard: [oddNumber, oddNumber], isClosed: [] },
  memfd: { punchHole: [oddNumber, oddNumber], isClosed: [] },
};

function open() {
  const system = addon.openSystem('/dev/kvm');
  const vm = system.createVm(0);
  const world = { addon, system, vm, vcpu: vm.createVcpu(0), memory: system.createMemory(8192) };
  try {
    world.memfd = vm.createGuestMemfd(8192, 0n);
  } catch {}
  return world;
}

function makeWorld() {
  const world = open();
  const foreign = open();
  const closed = open();
  for (const name of ['memory', 'memfd', 'vcpu', 'vm', 'system']) closed[name]?.close();
  return Object.assign(world, {
    foreign,
    closed,
    closedMemory: closed.memory,
    closedMemfd: closed.memfd,
    otherBackend: () => closed,
  });
}

const call = fc.constantFrom(...Object.keys(methods)).chain((target) =>
  fc.constantFrom(...Object.keys(methods[target])).chain((method) =>
    fc
      .tuple(
        fc.constantFrom('world', 'world', 'closed', 'another object'),
        fc.oneof(handle('vm'), handle('vcpu'), handle('memory'), handle('system')),
        fc.tuple(...methods[target][method]),
        fc.array(anything, { maxLength: 2 }),
      )
      .map(([where, self, args, more]) => ({
        label: `${where} ${self.label} ${target}.${method}(${[...args, ...more].map(({ label }) => label)})`,
        call(world) {
          const objects = where === 'closed' ? world.closed : world;
          const object = where === 'another object' ? self.make(world) : objects[target];
          const values = [...args, ...more].map(({ make }) => make(world));
          return Reflect.apply(world[target][method], object, values);
        },
      })),
  ),
);

const OWN = ['TypeError', 'RangeError', 'KvmError', 'KvmStateError'];
const [seed, numRuns] = process.argv.slice(2).map(Number);
let world = makeWorld();
const seen = { done: 0, refused: 0 };

for (const name of ['system', 'vm', 'vcpu', 'memory']) {
  const Class = Object.getPrototypeOf(world[name]).constructor;
  for (const construct of [() => new Class(), () => new Class(world[name]), () => Class()]) {
    try {
      construct();
      throw new Error(`${name} was constructed from JavaScript`);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }
}

const report = fc.check(
  fc.property(call, ({ label, call }) => {
    if (world.memfd === undefined && label.includes('memfd.')) return;
    try {
      const result = call(world);
      seen.done++;
      if (typeof result?.close === 'function') result.close();
      if (label.includes('vcpu.run(')) {
        world.system.close();
        world.foreign.system.close();
        world = makeWorld();
      }
    } catch (error) {
      if (!OWN.includes(error?.name)) throw error;
      seen.refused++;
    }
  }),
  { seed, numRuns, endOnFailure: false },
);
world.system.close();
world.foreign.system.close();
console.log(JSON.stringify(seen));
if (report.failed) {
  console.error(`seed ${report.seed}, ${report.counterexample[0].label}`);
  console.error(report.errorInstance?.stack ?? report.error);
  process.exitCode = 1;
}
