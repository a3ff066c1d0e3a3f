// node --expose-gc forgotten.mjs: objects that nobody closes, collected.
import { readdirSync } from 'node:fs';
import { openNative } from '../../../dist/native/index.js';

const warnings = [];
process.on('warning', ({ name, code, message }) => warnings.push({ name, code, message }));
const kept = openNative();
const descriptors = () => readdirSync('/proc/self/fd').length;
const before = descriptors();

function forget() {
  const system = openNative();
  const vm = system.createVm(0);
  const memory = system.createMemory(4096);
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 4096, memory });
  vm.createVcpu(0);
}
for (let i = 0; i < 50; i++) forget();
const most = descriptors() - before;

// What a caller holds by any part of it stays open.
const vcpu = (() => openNative().createVm(0).createVcpu(0))();
for (let i = 0; i < 20 && descriptors() > before; i++) {
  gc();
  await new Promise((resolve) => setTimeout(resolve, 5));
}
const stillUsable = vcpu.getRegs().rip === 0xfff0n;
const left = descriptors() - before;
vcpu.close();
kept.close();
console.log(JSON.stringify({ most, left, stillUsable, warnings }));
