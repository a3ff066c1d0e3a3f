// Opens and forgets, or closes, very often; prints what it held before and after. Run by leaks.test.ts with --expose-gc.
import { readdirSync, readFileSync } from 'node:fs';

const { library, what } = JSON.parse(process.argv[2]);
const { openNative } = await import(library);
const warnings = [];
process.on('warning', (warning) => warnings.push(`${warning.name} ${warning.code}: ${warning.message}`));
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function held() {
  for (let i = 0; i < 5; i++) {
    globalThis.gc();
    await turn();
  }
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: readFileSync('/proc/self/maps', 'utf8').split('\n').length,
    threads: readdirSync('/proc/self/task').length,
    rss: Math.round(process.memoryUsage().rss / 2 ** 20),
  };
}

function fill(system, run) {
  const vm = system.createVm(0);
  const memory = system.createMemory(65536);
  memory.write(0x1000, Uint8Array.of(0xf4)); // hlt
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 65536, memory });
  const vcpu = vm.createVcpu(0);
  if (!run) return { vm, memory, vcpu };
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: 0x1000n, rflags: 2n });
  return { vm, memory, vcpu };
}

const cycles = {
  'systems closed': async () => openNative().close(),
  'systems with a VM, memory and a vCPU, closed': async () => {
    const system = openNative();
    fill(system);
    system.close();
  },
  'systems with a vCPU that ran, closed': async () => {
    const system = openNative();
    const { vcpu } = fill(system, true);
    await vcpu.run();
    system.close();
  },
  'systems closed while a vCPU starts': async () => {
    const system = openNative();
    const run = fill(system, true).vcpu.run();
    system.close();
    await run.catch(() => {});
  },
  'VMs of one system, closed': async () => {
    const { vm, memory } = fill(shared);
    vm.close();
    memory.close();
  },
  'VMs of one system, forgotten': async () => {
    fill(shared);
  },
  'vCPUs that ran, forgotten': async () => {
    await fill(shared, true).vcpu.run();
  },
  'systems, forgotten': async () => {
    fill(openNative());
  },
};

const shared = openNative();
const [name, count] = what;
for (let i = 0; i < 50; i++) await cycles[name]();
const before = await held();
let most = 0;
for (let i = 0; i < count; i++) {
  await cycles[name]();
  // A program that never yields gets no finalisers.
  if (i % 50 === 49) {
    most = Math.max(most, readdirSync('/proc/self/fd').length);
    if (name.endsWith('forgotten')) globalThis.gc();
    await turn();
  }
}
const after = await held();
console.log(JSON.stringify({ before, after, most, warnings }));
shared.close();
