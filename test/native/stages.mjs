// A process, or a worker in one, that brings a VM to a stage and then ends in a given way. Run by lifecycle.test.ts.
import { parentPort, Worker, workerData } from 'node:worker_threads';

const { library, stage, end } = workerData ?? JSON.parse(process.argv[2]);
const { openNative } = await import(library);

const system = openNative();
const stages = {
  opened: () => {},
  vm: () => system.createVm(0),
  vcpu: () => bootSpinning(),
  running: () => start(bootSpinning()),
  'four running': () => {
    for (let i = 0; i < 4; i++) start(bootSpinning());
  },
  'after an exit': async () => {
    const vcpu = bootSpinning([0xee, 0xeb, 0xfe]); // out dx, al; jmp $
    await vcpu.run();
  },
  'running after an exit': async () => {
    const vcpu = bootSpinning([0xee, 0xeb, 0xfe]);
    await vcpu.run();
    start(vcpu);
  },
  'closed while running': () => {
    const vcpu = bootSpinning();
    start(vcpu);
    vcpu.close();
  },
  closed: () => system.close(),
};

function bootSpinning(code = [0xeb, 0xfe]) {
  const vm = system.createVm(0);
  const memory = system.createMemory(65536);
  memory.write(0x1000, Uint8Array.from(code));
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 65536, memory });
  const vcpu = vm.createVcpu(0);
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: 0x1000n, rflags: 2n });
  return vcpu;
}

function start(vcpu) {
  vcpu.run().then(
    (exit) => console.log(`exit ${exit.reason}`),
    (error) => console.log(`ended ${error.code}`),
  );
}

await stages[stage]();

const ends = {
  'process.exit': () => process.exit(7),
  'an uncaught exception': () => {
    setImmediate(() => {
      throw new Error('on purpose');
    });
  },
  SIGTERM: () => process.kill(process.pid, 'SIGTERM'),
  'closing and nothing more to do': () => system.close(),
  'nothing more to do': () => {},
};

if (end === 'tell') parentPort.postMessage('ready');
else if (end === 'worker') {
  const worker = new Worker(new URL(import.meta.url), { workerData: { library, stage, end: 'tell' } });
  await new Promise((resolve) => worker.once('message', resolve));
  await worker.terminate();
  system.close();
  console.log('terminated');
} else setTimeout(ends[end], 20);
