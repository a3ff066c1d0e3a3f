// Registers of a vCPU: arch/x86/include/uapi/asm/kvm.h, Linux 6.16.
import type { KvmRegs, KvmSregs } from '../../kvm/vcpu.js';
import { array, type Decoded, nested, struct, u8, u16, u32, u64 } from './struct.js';

export const kvmRegs = struct('kvm_regs', 144, {
  rax: u64(0),
  rbx: u64(8),
  rcx: u64(16),
  rdx: u64(24),
  rsi: u64(32),
  rdi: u64(40),
  rsp: u64(48),
  rbp: u64(56),
  r8: u64(64),
  r9: u64(72),
  r10: u64(80),
  r11: u64(88),
  r12: u64(96),
  r13: u64(104),
  r14: u64(112),
  r15: u64(120),
  rip: u64(128),
  rflags: u64(136),
}) satisfies { decode(data: Uint8Array): KvmRegs };

export const kvmSegment = struct('kvm_segment', 24, {
  base: u64(0),
  limit: u32(8),
  selector: u16(12),
  type: u8(14),
  present: u8(15),
  dpl: u8(16),
  db: u8(17),
  s: u8(18),
  l: u8(19),
  g: u8(20),
  avl: u8(21),
  unusable: u8(22),
});

export const kvmDtable = struct('kvm_dtable', 16, { base: u64(0), limit: u16(8) });

export const kvmSregs = struct('kvm_sregs', 312, {
  cs: nested(0, kvmSegment),
  ds: nested(24, kvmSegment),
  es: nested(48, kvmSegment),
  fs: nested(72, kvmSegment),
  gs: nested(96, kvmSegment),
  ss: nested(120, kvmSegment),
  tr: nested(144, kvmSegment),
  ldt: nested(168, kvmSegment),
  gdt: nested(192, kvmDtable),
  idt: nested(208, kvmDtable),
  cr0: u64(224),
  cr2: u64(232),
  cr3: u64(240),
  cr4: u64(248),
  cr8: u64(256),
  efer: u64(264),
  apic_base: u64(272),
  interrupt_bitmap: array(280, 4, u64),
});

type SregsBytes = Decoded<(typeof kvmSregs)['fields']>;

export const sregsOf = ({ apic_base, interrupt_bitmap, ...same }: SregsBytes): KvmSregs => {
  const [a = 0n, b = 0n, c = 0n, d = 0n] = interrupt_bitmap;
  return { ...same, apicBase: apic_base, interruptBitmap: [a, b, c, d] };
};

export const sregsBytes = ({ apicBase, interruptBitmap, ...same }: KvmSregs): SregsBytes => ({
  ...same,
  apic_base: apicBase,
  interrupt_bitmap: interruptBitmap,
});
