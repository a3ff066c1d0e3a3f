// Port exits answered on the vCPU's own thread, and crossing to JavaScript, against the same guest run by C.
import { KVM_X86_DEFAULT_VM, openKvm } from '../dist/index.js';
import { best, report, twin } from './common.mjs';

const ROUNDS = 6;
const N = 30_000;

/** A VM whose guest writes `n` times to port 0x3f8 and halts. */
function outGuest(system, n) {
  // mov dx, 0x3f8; mov al, 'A'; mov ecx, n; again: out dx, al; dec ecx; jnz again; hlt
  const code = Uint8Array.from([
    0xba, 0xf8, 0x03, 0xb0, 0x41, 0x66, 0xb9, 0, 0, 0, 0, 0xee, 0x66, 0x49, 0x75, 0xfb, 0xf4,
  ]);
  new DataView(code.buffer).setUint32(7, n, true);
  const vm = system.createVm(KVM_X86_DEFAULT_VM);
  const memory = system.createMemory(0x10000);
  memory.write(0x1000, code);
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 0x10000, memory });
  const vcpu = vm.createVcpu(0);
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: 0x1000n, rflags: 2n });
  return { vm, vcpu, memory };
}

async function nsPerExit(system, ports) {
  const { vm, vcpu, memory } = outGuest(system, N);
  const start = process.hrtime.bigint();
  let exit = await vcpu.run({ ports });
  while (exit.reason === 'io') exit = await vcpu.run({ ports });
  const elapsed = Number(process.hrtime.bigint() - start);
  if (exit.reason !== 'hlt') throw new Error(`the guest ended with ${exit.reason}`);
  vm.close();
  memory.close();
  return elapsed / N;
}

let system;
try {
  system = openKvm({ backend: 'native' });
} catch (error) {
  console.log(`exits: skipped (${error.message})`);
}
if (system) {
  const c = twin();
  let theirs = Number.POSITIVE_INFINITY;
  const inNative = await best(ROUNDS, () => {
    theirs = Math.min(theirs, c?.('exits', N) ?? Number.POSITIVE_INFINITY);
    return nsPerExit(system, [{ first: 0x3f8, last: 0x3f8 }]);
  });
  const crossing = await best(2, () => nsPerExit(system, []));
  report('port exits answered natively', {
    ours: 1e9 / inNative,
    theirs: 1e9 / theirs,
    unit: '/s',
    ratio: theirs / inNative,
    aim: "at least 0.95 of the C twin's",
  });
  report('port exits crossing to JavaScript', {
    ours: 1e9 / crossing,
    theirs: 1e9 / theirs,
    unit: '/s',
    ratio: theirs / crossing,
  });
  system.close();
}
