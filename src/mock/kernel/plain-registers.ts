import type { KvmRegs, KvmSegment, KvmSregs } from '../../kvm/vcpu.js';
import { packVcpuEvents, packXcrs } from '../../kvm/vcpu-state.js';

const segment = (over: Partial<KvmSegment>): KvmSegment => ({
  base: 0n,
  limit: 0xffff,
  selector: 0,
  type: 3,
  present: 1,
  dpl: 0,
  db: 0,
  s: 1,
  l: 0,
  g: 0,
  avl: 0,
  unusable: 0,
  ...over,
});

/** Registers after RESET (Intel SDM volume 3, table 11-1). */
export const resetRegs = (): KvmRegs => ({
  rax: 0n,
  rbx: 0n,
  rcx: 0n,
  rdx: 0x600n,
  rsi: 0n,
  rdi: 0n,
  rsp: 0n,
  rbp: 0n,
  r8: 0n,
  r9: 0n,
  r10: 0n,
  r11: 0n,
  r12: 0n,
  r13: 0n,
  r14: 0n,
  r15: 0n,
  rip: 0xfff0n,
  rflags: 2n,
});

export const resetSregs = (isBsp: boolean): KvmSregs => ({
  cs: segment({ base: 0xffff_0000n, selector: 0xf000, type: 11 }),
  ds: segment({}),
  es: segment({}),
  fs: segment({}),
  gs: segment({}),
  ss: segment({}),
  tr: segment({ type: 11, s: 0 }),
  ldt: segment({ type: 2, s: 0 }),
  gdt: { base: 0n, limit: 0xffff },
  idt: { base: 0n, limit: 0xffff },
  cr0: 0x6000_0010n,
  cr2: 0n,
  cr3: 0n,
  cr4: 0n,
  cr8: 0n,
  efer: 0n,
  apicBase: isBsp ? 0xfee0_0900n : 0xfee0_0800n,
  interruptBitmap: [0n, 0n, 0n, 0n],
});

/** What else a plain vCPU has, as the bytes of kvm_xsave, kvm_xcrs and kvm_vcpu_events. */
export interface PlainState {
  xsave: Uint8Array;
  xcrs: Uint8Array;
  events: Uint8Array;
}

/** After RESET: x87 and MXCSR as FNINIT and RESET leave them, XCR0 with x87 only, no event. */
export function resetState(): PlainState {
  const xsave = new Uint8Array(4096);
  const view = new DataView(xsave.buffer);
  view.setUint16(0, 0x37f, true);
  view.setUint32(24, 0x1f80, true);
  return {
    xsave,
    xcrs: packXcrs([{ xcr: 0, value: 1n }]),
    events: packVcpuEvents({
      exception: { injected: 0, nr: 0, hasErrorCode: 0, pending: 0, errorCode: 0 },
      interrupt: { injected: 0, nr: 0, soft: 0, shadow: 0 },
      nmi: { injected: 0, pending: 0, masked: 0 },
      flags: 0,
    }),
  };
}
