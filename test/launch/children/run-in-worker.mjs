// Workers in which a guest runs for ever are terminated; prints what they leave behind in the process.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { openKvm, runVcpus } from '../../../dist/index.js';

const ROUNDS = 3;
/** mov dx, 0x3f8; again: out dx, al; jmp again */
const FLOOD = [0xba, 0xf8, 0x03, 0xee, 0xeb, 0xfd];

async function inWorker() {
  const system = openKvm({ backend: 'native' });
  const vm = system.createVm(0);
  const memory = system.createMemory(0x8000);
  memory.write(0x1000, Uint8Array.from(FLOOD));
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 0x8000, memory });
  const vcpu = vm.createVcpu(0);
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: 0x1000n, rflags: 2n });
  setTimeout(() => parentPort.postMessage('running'), 30);
  await runVcpus({ vcpus: [vcpu] });
}

const terminated = () =>
  new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(import.meta.url));
    worker.on('message', () => void worker.terminate());
    worker.on('error', reject);
    worker.on('exit', resolve);
  });

const left = () => ['fd', 'task'].map((folder) => readdirSync(`/proc/self/${folder}`).length);

if (isMainThread) {
  await terminated(); // what is made once per process
  const before = left();
  for (let round = 0; round < ROUNDS; round++) await terminated();
  console.log(JSON.stringify({ before, after: left() }));
} else {
  await inWorker();
}
