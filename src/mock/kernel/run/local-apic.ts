import { findCpuidEntry } from '../cpuid2.js';
import type { TdVcpu } from '../td-vcpu.js';

/** Registers of the x2APIC by MSR - 0x800 (SDM volume 3, table 12-6). */
const REG = {
  ID: 0x02,
  VERSION: 0x03,
  TPR: 0x08,
  PPR: 0x0a,
  LDR: 0x0d,
  SPIV: 0x0f,
  ISR: 0x10,
  TMR: 0x18,
  IRR: 0x20,
  ESR: 0x28,
  ICR: 0x30,
  LVTT: 0x32,
  LVTTHMR: 0x33,
  LVTPC: 0x34,
  LVT0: 0x35,
  LVT1: 0x36,
  LVTERR: 0x37,
  TMICT: 0x38,
  TMCCT: 0x39,
  TDCR: 0x3e,
  SELF_IPI: 0x3f,
} as const;

/** 0x14, six LVT entries, directed EOI: the I/O APIC is user space's. */
const VERSION = 0x0105_0014;
const MASKED = 0x1_0000;
const EXTINT = 0x700;
const SPIV_ENABLED = 0x100;
const SPIV_BITS = 0x13ff;
const TSC_DEADLINE_TIMER = 1 << 24;
const TSC_DEADLINE_MODE = 2 << 17;
const VECTOR = 0xff;
const U32 = 0xffff_ffffn;

/** apic_lvt_mask: bits of an LVT entry that are kept; the timer's mode comes on top. */
const LVT_BITS: Readonly<Record<number, number>> = {
  [REG.LVTT]: 0x1_10ff,
  [REG.LVTTHMR]: 0x1_17ff,
  [REG.LVTPC]: 0x1_17ff,
  [REG.LVT0]: 0x1_f7ff,
  [REG.LVT1]: 0x1_f7ff,
  [REG.LVTERR]: 0x1_10ff,
};

/** kvm_lapic_readable_reg_mask(); ISR, TMR and IRR have eight registers each. */
const READABLE: ReadonlySet<number> = new Set([
  ...[REG.ID, REG.VERSION, REG.TPR, REG.PPR, REG.LDR, REG.SPIV, REG.ESR, REG.ICR, REG.TMICT, REG.TMCCT, REG.TDCR],
  ...Object.keys(LVT_BITS).map(Number),
  ...[REG.ISR, REG.TMR, REG.IRR].flatMap((first) => Array.from({ length: 8 }, (_, i) => first + i)),
]);

const ICR_RESERVED = 0xfff3_2000n;
const ICR_BUSY = 0x1000n;
const MODE = { FIXED: 0, LOWEST: 0x100, NMI: 0x400 } as const;
const NMI_VECTOR = 2;
const LOGICAL = 0x800;
const SHORTHAND = { NONE: 0, SELF: 0x4_0000, ALL: 0x8_0000, OTHERS: 0xc_0000 } as const;
const BROADCAST = 0xffff_ffff;

/**
 * KVM's local APIC of a TD's vCPU (lapic.c) in x2APIC mode, as far as the guest reaches it with TDG.VP.VMCALL: a file of
 * registers, and interprocessor interrupts, which are posted. The timer counts nothing.
 */
export class LocalApic {
  /** Vectors posted since the guest was last entered; an NMI counts as vector 2. */
  readonly posted = new Set<number>();
  readonly #regs = new Map<number, number>();
  #icr = 0n;
  #deadline = 0n;

  constructor(private readonly vcpu: TdVcpu) {
    const { id, vm } = vcpu.vcpu;
    for (const lvt of Object.keys(LVT_BITS)) this.#regs.set(Number(lvt), MASKED);
    if (id === vm.bspVcpuId) this.#regs.set(REG.LVT0, EXTINT);
    this.#regs.set(REG.ID, id);
    this.#regs.set(REG.LDR, ((id >>> 4) << 16) | (1 << (id & 0xf)));
    this.#regs.set(REG.VERSION, VERSION);
    this.#regs.set(REG.SPIV, 0xff);
  }

  /** kvm_x2apic_msr_read(): undefined where there is no such register. @param reg MSR - 0x800. */
  read(reg: number): bigint | undefined {
    if (!READABLE.has(reg)) return undefined;
    if (reg === REG.ICR) return this.#icr;
    return BigInt(this.#reg(reg));
  }

  /** kvm_x2apic_msr_write(): false where it is refused. @param reg MSR - 0x800. */
  write(reg: number, data: bigint): boolean {
    if (reg === REG.ICR) return this.#writeIcr(data);
    if (data > U32) return false;
    const value = Number(data);
    if (LVT_BITS[reg] !== undefined) return this.#writeLvt(reg, value);
    switch (reg) {
      case REG.SPIV:
        this.#regs.set(reg, value & SPIV_BITS);
        if ((value & SPIV_ENABLED) === 0)
          for (const lvt of Object.keys(LVT_BITS).map(Number)) this.#regs.set(lvt, this.#reg(lvt) | MASKED);
        return true;
      case REG.TMICT:
        if (!this.#tscDeadlineMode) this.#regs.set(reg, value);
        return true;
      case REG.TDCR:
        this.#regs.set(reg, value & 0xb);
        return true;
      case REG.ESR:
        return value === 0;
      case REG.SELF_IPI:
        if ((value & ~VECTOR) !== 0) return false;
        this.#send(SHORTHAND.SELF | value, 0);
        return true;
      default:
        return false;
    }
  }

  /** MSR_IA32_TSC_DEADLINE: 0, and ignored, unless the timer is in that mode. */
  get tscDeadline(): bigint {
    return this.#tscDeadlineMode ? this.#deadline : 0n;
  }

  set tscDeadline(tsc: bigint) {
    if (this.#tscDeadlineMode) this.#deadline = tsc;
  }

  /** __apic_accept_irq(): INIT and start-up IPIs do nothing to a TD's vCPU. True where it was accepted. */
  accept(mode: number, vector: number): boolean {
    if (mode === MODE.NMI) this.posted.add(NMI_VECTOR);
    else if ((mode === MODE.FIXED || mode === MODE.LOWEST) && this.#enabled) this.posted.add(vector);
    else return false;
    this.vcpu.run.wake();
    return true;
  }

  get #enabled(): boolean {
    return (this.#reg(REG.SPIV) & SPIV_ENABLED) !== 0;
  }

  get #tscDeadlineMode(): boolean {
    return (this.#reg(REG.LVTT) & this.#timerModes) === TSC_DEADLINE_MODE;
  }

  /** lapic_timer.timer_mode_mask: TSC-deadline mode needs CPUID(1).ECX[24]. */
  get #timerModes(): number {
    const features = findCpuidEntry(this.vcpu.vcpu.cpuid, 1, 0)?.ecx ?? 0;
    return (features & TSC_DEADLINE_TIMER) !== 0 ? 3 << 17 : 1 << 17;
  }

  #reg(reg: number): number {
    return this.#regs.get(reg) ?? 0;
  }

  #writeLvt(reg: number, value: number): boolean {
    const kept = LVT_BITS[reg]! | (reg === REG.LVTT ? this.#timerModes : 0);
    const wasDeadline = this.#tscDeadlineMode;
    this.#regs.set(reg, (this.#enabled ? value : value | MASKED) & kept);
    if (reg === REG.LVTT && wasDeadline !== this.#tscDeadlineMode) {
      this.#regs.set(REG.TMICT, 0);
      this.#deadline = 0n;
    }
    return true;
  }

  /** kvm_x2apic_icr_write(). */
  #writeIcr(data: bigint): boolean {
    if ((data & ICR_RESERVED) !== 0n) return false;
    this.#icr = data & ~ICR_BUSY;
    this.#send(Number(this.#icr & U32), Number(data >> 32n));
    return true;
  }

  /** kvm_apic_send_ipi(). */
  #send(icr: number, destination: number): void {
    const shorthand = icr & SHORTHAND.OTHERS;
    for (const { td } of this.vcpu.td.vm.vcpus.values()) {
      if (!td) continue;
      const { apic } = td.run;
      const self = apic === this;
      const meant =
        shorthand === SHORTHAND.NONE
          ? apic.#matches(destination, (icr & LOGICAL) !== 0)
          : shorthand === SHORTHAND.ALL || self === (shorthand === SHORTHAND.SELF);
      if (meant) apic.accept(icr & 0x700, icr & VECTOR);
    }
  }

  /** kvm_apic_match_physical_addr(), kvm_apic_match_logical_addr(). */
  #matches(destination: number, logical: boolean): boolean {
    if (destination === BROADCAST) return true;
    if (!logical) return destination === this.#reg(REG.ID);
    const ldr = this.#reg(REG.LDR);
    return ldr >>> 16 === destination >>> 16 && (ldr & destination & 0xffff) !== 0;
  }
}
