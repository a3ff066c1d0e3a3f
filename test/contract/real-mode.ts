import type { GuestMemory, KvmSregs, KvmSystem, KvmVcpu, KvmVm } from '../../src/kvm/index.js';

export const CODE_AT = 0x1000;
export const DATA_AT = 0x2000;
const SIZE = 65536;

export interface Machine {
  vm: KvmVm;
  vcpu: KvmVcpu;
  memory: GuestMemory;
}

/** A plain VM with 64 KiB from address 0 and one vCPU in real mode, about to execute `code` at 0x1000. */
export function boot(
  system: KvmSystem,
  code: readonly number[],
  mode?: (sregs: KvmSregs) => Partial<KvmSregs>,
): Machine {
  const vm = system.createVm(0);
  const memory = system.createMemory(SIZE);
  memory.write(CODE_AT, Uint8Array.from(code));
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: SIZE, memory });
  const vcpu = vm.createVcpu(0);
  const sregs = vcpu.getSregs();
  const data = { ...sregs.ds, base: 0n, selector: 0 };
  vcpu.setSregs({
    ...sregs,
    cs: { ...sregs.cs, base: 0n, selector: 0 },
    ds: data,
    es: data,
    ss: data,
    ...mode?.(sregs),
  });
  restart(vcpu);
  return { vm, vcpu, memory };
}

/** Back to the first instruction. */
export function restart(vcpu: KvmVcpu): void {
  vcpu.setRegs({
    ...vcpu.getRegs(),
    rip: BigInt(CODE_AT),
    rsp: 0x8000n,
    rsi: BigInt(DATA_AT),
    rdi: BigInt(DATA_AT),
    rflags: 2n,
  });
}

/** Flat protected mode with no interrupt table: any fault is a triple fault. */
export function protectedMode(sregs: KvmSregs): Partial<KvmSregs> {
  const code = { ...sregs.cs, base: 0n, limit: 0xffff_ffff, selector: 8, type: 11, db: 1, g: 1 };
  const data = { ...code, selector: 16, type: 3 };
  return {
    cs: code,
    ds: data,
    es: data,
    ss: data,
    cr0: sregs.cr0 | 1n,
    idt: { base: 0n, limit: 0 },
    gdt: { base: 0n, limit: 0 },
  };
}

/** jmp $ */
export const SPIN = [0xeb, 0xfe];
/** mov dx, 0x3f8; mov al, 'A'; out dx, al; hlt */
export const WRITE_A = [0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xf4];
