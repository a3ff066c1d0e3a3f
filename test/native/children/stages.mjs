// A life of the native backend, as far as each of its stages. Used by programs that then end in some way.
import { openNative } from '../../../dist/native/index.js';

/** in al, 0x10; then out 0x11, al; jmp $ */
const CODE = [0xe4, 0x10, 0xe6, 0x11, 0xeb, 0xfe];

export const STAGES = ['opened', 'vm', 'vcpu', 'running', 'mid-exit', 'closed'];

/** Everything that was opened, for the caller to close or not. */
export async function reach(stage) {
  const system = openNative();
  if (stage === 'opened') return { system };
  const vm = system.createVm(0);
  vm.setTssAddr(0xfffbd000);
  const memory = system.createMemory(0x10000);
  memory.write(0x1000, Uint8Array.from(CODE));
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 0x10000, memory });
  if (stage === 'vm') return { system, vm };
  const vcpu = vm.createVcpu(0);
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: 0x1000n });
  if (stage === 'vcpu') return { system, vm, vcpu };
  await vcpu.run(); // the IN asks for data
  if (stage === 'mid-exit') return { system, vm, vcpu };
  await vcpu.run({ reply: { data: Uint8Array.of(1) } });
  const run = vcpu.run();
  run.catch(() => {});
  if (stage === 'closed') system.close();
  return { system, vm, vcpu, run };
}
