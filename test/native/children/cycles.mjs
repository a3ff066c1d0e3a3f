// node --expose-gc cycles.mjs N: opens and closes N VMs, each with memory and a vCPU; every tenth also runs.
// Several threads share them: most of a cycle is waiting until every CPU has let go of the VM in the kernel.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { openNative } from '../../../dist/native/index.js';

const WORKERS = 8;

async function cycle(system, i) {
  const vm = system.createVm(0);
  const memory = system.createMemory(0x10000);
  const vcpu = vm.createVcpu(0);
  if (i % 10 === 0) {
    memory.write(0xfff0, Uint8Array.of(0xf4));
    vm.setUserMemoryRegion({ slot: 0, gpa: 0xf0000n, size: 0x10000, memory });
    const sregs = vcpu.getSregs();
    vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0xf0000n, selector: 0xf000 } });
    const exit = await vcpu.run();
    if (exit.reason !== 'hlt') throw new Error(`exit ${exit.reason}`);
  }
  // In every order: a parent closes what is left.
  if (i % 3 === 0) vcpu.close();
  if (i % 2 === 0) memory.close();
  vm.close();
  if (i % 2 === 1) memory.close();
}

/** Makes as many cycles as each message says, collects, and says so. */
function inWorker() {
  const system = openNative();
  parentPort.on('message', async (cycles) => {
    for (let i = 0; i < cycles; i++) await cycle(system, i);
    gc();
    await new Promise((resolve) => setImmediate(resolve));
    gc();
    parentPort.postMessage('done');
  });
}

const measured = () => ({
  descriptors: readdirSync('/proc/self/fd').length,
  threads: readdirSync('/proc/self/task').length,
  mappings: readFileSync('/proc/self/maps', 'utf8').split('\n').length,
  rss: process.memoryUsage.rss(),
});

async function main() {
  const each = Math.ceil(Number(process.argv[2]) / WORKERS);
  const workers = Array.from({ length: WORKERS }, () => new Worker(fileURLToPath(import.meta.url)));
  const makeAll = (cycles) =>
    Promise.all(
      workers.map((worker) => {
        worker.postMessage(cycles);
        return new Promise((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
        });
      }),
    );
  const warmUp = Math.ceil(each / 10);
  await makeAll(warmUp);
  const before = measured();
  await makeAll(each - warmUp);
  const after = measured();
  const grown = Object.keys(before).map((name) => [name, after[name] - before[name]]);
  console.log(JSON.stringify(Object.fromEntries(grown)));
  await Promise.all(workers.map((worker) => worker.terminate()));
}

if (isMainThread) await main();
else inWorker();
