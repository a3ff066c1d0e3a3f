import { createHash } from 'node:crypto';
import type { TdImage } from '../../src/image/index.js';
import type { KvmRegs, KvmSegment, KvmSystem, VcpuExit } from '../../src/kvm/index.js';

const RAM = 1 << 20;
const IMAGE_BASE = 0xffff_0000n;
const EMULATION_FAILED = 1;
const CPUID = [0x0f, 0xa2];
const UD0 = [0x0f, 0xff];
const VE_GATE = 0x4100 + 16 * 20;

const flat = (type: number): KvmSegment => ({
  base: 0n,
  limit: 0xffff_ffff,
  selector: type === 11 ? 8 : 16,
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

/** What the guest asked of module and host, and what became of it. */
export interface Ran {
  console: string;
  /** The byte written to the exit port. */
  status?: number;
  end: VcpuExit | 'parked';
  fatal?: KvmRegs;
}

/** Answers of the module and the host: changes `regs`, RAX being 0 unless it says so. */
export type Answers = Partial<Record<number, (regs: KvmRegs, memory: GuestBytes) => void>>;

export interface GuestBytes {
  read(gpa: number, length: number): Uint8Array;
  write(gpa: number, bytes: Uint8Array): void;
}

/**
 * Runs an image on a plain VM, from the state a TD starts in, without any model of TDX: KVM cannot emulate TDCALL, says so
 * where it stands, and `answers` take its place. `veCpuid` lists CPUID instructions, first is 0, that raise #VE.
 */
export async function runOnPlainKvm(
  system: KvmSystem,
  image: TdImage,
  { answers = {}, index = 0, veCpuid = [] }: { answers?: Answers; index?: number; veCpuid?: readonly number[] } = {},
): Promise<Ran> {
  using vm = system.createVm(0);
  using low = system.createMemory(RAM);
  using high = system.createMemory(0x10000);
  const bytes = image.regions[0]!.data.slice();
  let found = -1;
  for (let at = 0x4000; at < bytes.length - 1; at++) {
    if (bytes[at] !== CPUID[0] || bytes[at + 1] !== CPUID[1]) continue;
    found++;
    if (veCpuid.includes(found)) bytes.set(UD0, at);
  }
  high.write(0, bytes);
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: RAM, memory: low });
  vm.setUserMemoryRegion({ slot: 1, gpa: IMAGE_BASE, size: 0x10000, memory: high });
  using vcpu = vm.createVcpu(0);
  vcpu.setCpuid2([
    ...system.getSupportedCpuid(),
    { function: 0x21, index: 0, flags: 0, eax: 0, ebx: 0x65746e49, ecx: 0x20202020, edx: 0x5844546c },
  ]);
  const sregs = vcpu.getSregs();
  const data = flat(3);
  vcpu.setSregs({
    ...sregs,
    cs: flat(11),
    ds: data,
    es: data,
    fs: data,
    gs: data,
    ss: data,
    gdt: { base: 0n, limit: 0xffff },
    idt: { base: 0n, limit: 0 },
    cr0: 0x31n,
    cr4: 0x40n,
    efer: 0x901n,
  });
  const start = vcpu.getRegs();
  const zero = Object.fromEntries(Object.keys(start).map((name) => [name, 0n])) as unknown as KvmRegs;
  vcpu.setRegs({ ...zero, rbx: 48n, rsi: BigInt(index), rip: 0xffff_fff0n, rflags: 2n });

  const memory: GuestBytes = {
    read: (gpa, length) => (gpa < RAM ? low.read(gpa, length) : high.read(gpa - Number(IMAGE_BASE), length)),
    write: (gpa, content) => low.write(gpa, content),
  };
  const ran: Ran = { console: '', end: 'parked' };
  for (;;) {
    const exit = await vcpu.run();
    const regs = vcpu.getRegs();
    if (exit.reason !== 'internal-error' || exit.suberror !== EMULATION_FAILED) return { ...ran, end: exit };
    if (memory.read(Number(regs.rip), 2).join() === UD0.join()) {
      vcpu.setRegs(raiseVe(regs, memory));
      continue;
    }
    const after = { ...regs, rip: regs.rip + 4n, rax: 0n };
    const leaf = Number(regs.rax);
    if (leaf !== 0) answers[leaf]?.(after, memory);
    else {
      after.r10 = 0n;
      const what = Number(regs.r11);
      if (what === 30 && regs.r14 === 0x3f8n) ran.console += String.fromCharCode(Number(regs.r15));
      else if (what === 30) ran.status = Number(regs.r15);
      else if (what === 12) return ran;
      else if (what === 0x10003) ran.fatal = regs;
      else if (what === 10)
        [after.r12, after.r13, after.r14, after.r15] = [0x40000001n, 0x4b4d564bn, 0x564b4d56n, 0x4dn];
    }
    vcpu.setRegs(after);
  }
}

/** What the processor does for an exception in 64-bit mode, ring 0: a frame on the stack, on to the gate's handler. */
function raiseVe(regs: KvmRegs, memory: GuestBytes): KvmRegs {
  const frame = new BigUint64Array([regs.rip, 8n, regs.rflags, regs.rsp, 16n]);
  const rsp = (regs.rsp & ~15n) - 40n;
  memory.write(Number(rsp), new Uint8Array(frame.buffer));
  const gate = new DataView(memory.read(Number(IMAGE_BASE) + VE_GATE, 16).slice().buffer);
  const handler = gate.getUint16(0, true) + gate.getUint16(6, true) * 0x10000;
  return { ...regs, rsp, rip: BigInt(handler) };
}

export const sha384 = (...parts: Uint8Array[]) => createHash('sha384').update(Buffer.concat(parts)).digest();
