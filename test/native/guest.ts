import type { GuestMemory, KvmSegment, KvmSystem, KvmVcpu, KvmVm, VcpuExit } from '../../src/kvm/index.js';

/** Where the code lies, and where the guest's memory ends: accesses beyond are MMIO. */
export const CODE = 0x1000;
export const MEMORY_END = 0x8000;

export interface Guest {
  vm: KvmVm;
  vcpu: KvmVcpu;
  memory: GuestMemory;
}

/** A vCPU in real mode, about to execute `code`. */
export function realMode(system: KvmSystem, code: readonly number[]): Guest {
  const vm = system.createVm(0);
  vm.setTssAddr(0xfffb_d000); // processors without unrestricted guest need it
  const memory = system.createMemory(MEMORY_END);
  memory.write(CODE, Uint8Array.from(code));
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: MEMORY_END, memory });
  return { vm, memory, vcpu: addVcpu(vm, 0) };
}

/** One more vCPU in real mode at the same code. */
export function addVcpu(vm: KvmVm, id: number): KvmVcpu {
  const vcpu = vm.createVcpu(id);
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: BigInt(CODE), rsp: 0x7000n, rflags: 2n });
  return vcpu;
}

const flat = (selector: number, type: number): KvmSegment => ({
  base: 0n,
  limit: 0xffff_ffff,
  selector,
  type,
  present: 1,
  dpl: 0,
  db: 1,
  s: 1,
  l: 0,
  g: 1,
  avl: 0,
  unusable: 0,
});

/** A vCPU in flat 32-bit protected mode without interrupt handlers: any exception is a triple fault. */
export function protectedMode(system: KvmSystem, code: readonly number[]): Guest {
  const guest = realMode(system, code);
  const sregs = guest.vcpu.getSregs();
  const data = flat(16, 3);
  guest.vcpu.setSregs({
    ...sregs,
    cs: flat(8, 11),
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    idt: { base: 0n, limit: 0 },
    cr0: sregs.cr0 | 1n,
  });
  return guest;
}

/** Exits until the guest halts. */
export async function exitsUntilHlt(vcpu: KvmVcpu): Promise<VcpuExit[]> {
  for (const exits: VcpuExit[] = []; ; ) {
    const exit = await vcpu.run();
    exits.push(exit);
    if (exit.reason === 'hlt') return exits;
  }
}

/** mov dx, 0x3f8; mov al, 'A'; out dx, al; hlt */
export const WRITE_A = [0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xf4];
/** jmp $ */
export const SPIN = [0xeb, 0xfe];
export const HLT = 0xf4;
