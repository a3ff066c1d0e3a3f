// node odd-arguments.mjs SEED RUNS [model]: calls everything with odd arguments, on the model and the kernel, which must both
// live, throw nothing but their own errors, and refuse the same arguments with the same error.
import fc from 'fast-check';
import { openKvm } from '../../../dist/index.js';
import { oddCall } from './odd-calls.mjs';

const attempt = (body) => {
  try {
    return body();
  } catch {
    return undefined;
  }
};

const slotless = (system) => {
  const vm = system.createVm(0);
  return {
    vm,
    memory: system.createMemory(8192),
    vcpu: vm.createVcpu(77),
    memfd: attempt(() => vm.createGuestMemfd(8192)),
  };
};

/** Objects of one backend, open and closed, and others that they must not take. */
function makeWorld(backend, otherBackend) {
  const system = openKvm({ backend });
  const another = openKvm({ backend });
  const gone = openKvm({ backend });
  const world = { backend, system, otherBackend, ...slotless(system), closed: { system: gone, ...slotless(gone) } };
  world.foreign = { ...slotless(another), closedMemory: another.createMemory(4096) };
  world.closedMemory = system.createMemory(4096);
  world.closedMemfd = attempt(() => world.vm.createGuestMemfd(4096));
  for (const closable of [world.closedMemory, world.closedMemfd, world.foreign.closedMemory, gone]) closable?.close();
  world.end = () => {
    system.close();
    another.close();
  };
  return world;
}

const OWN = ['TypeError', 'RangeError', 'KvmError', 'KvmStateError', 'AbortError'];
/** Refused before the kernel was asked. */
const REFUSED = ['TypeError', 'RangeError', 'KvmStateError', 'AbortError'];
const LONGEST_RUN = 500;

async function outcomeOf(world, { call }) {
  try {
    const result = call(world);
    if (typeof result?.then === 'function') {
      const late = setTimeout(() => world.vm.close(), LONGEST_RUN);
      await result.finally(() => clearTimeout(late));
    } else if (typeof result?.close === 'function') {
      result.close();
    }
    return { name: 'done' };
  } catch (error) {
    if (!OWN.includes(error?.name)) throw error;
    return { name: error.name, code: error.code, message: error.message };
  }
}

const [seed, numRuns] = process.argv.slice(2).map(Number);
const worlds = {};
const backends = process.argv[4] === 'model' ? ['mock'] : ['mock', 'native'];
const renew = () => {
  for (const world of Object.values(worlds)) world.end();
  for (const backend of backends) {
    const other = backends.find((name) => name !== backend);
    worlds[backend] = makeWorld(backend, () => worlds[other] ?? {});
  }
};
renew();

const seen = { calls: 0, refused: 0, done: 0, kernel: 0 };
const property = fc.asyncProperty(oddCall, async (odd) => {
  if (odd.target === 'memfd' && backends.some((backend) => !worlds[backend].memfd)) return;
  const outcomes = [];
  for (const backend of backends) outcomes.push(await outcomeOf(worlds[backend], odd));
  if (backends.some((backend) => worlds[backend].vm.closed)) renew();
  seen.calls++;
  if (outcomes.some(({ name }) => REFUSED.includes(name))) {
    seen.refused++;
    const [first, second = first] = outcomes;
    // Which complaint comes first about a foreign `this` is the language's affair.
    if (odd.self) return;
    if (first.name !== second.name || first.code !== second.code) {
      throw new Error(
        `${odd.label}\n  ${backends[0]}: ${JSON.stringify(first)}\n  ${backends[1]}: ${JSON.stringify(second)}`,
      );
    }
  } else if (outcomes.some(({ name }) => name === 'KvmError')) seen.kernel++;
  else seen.done++;
});
const report = await fc.check(property, { seed, numRuns, endOnFailure: false });
for (const world of Object.values(worlds)) world.end();
console.log(JSON.stringify(seen));
if (report.failed) {
  console.error(`seed ${report.seed}, ${report.counterexample[0].label}`);
  console.error(report.errorInstance?.stack ?? report.error);
  process.exitCode = 1;
}
