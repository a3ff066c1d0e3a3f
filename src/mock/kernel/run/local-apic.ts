import { findCpuidEntry } from '../cpuid2.js';
import type { TdVcpu } from '../td-vcpu.js';
import { ApicTimer, TIMER_MODE } from './apic-timer.js';
import { apicsOf, type Destination, deliverTo, MODE } from './irq-delivery.js';
import { PostedInterrupts } from './posted-interrupts.js';

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
const VECTOR = 0xff;
const DELIVERY_MODE = 0x700;
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
const LOGICAL = 0x800;
const SHORTHAND = { NONE: 0, SELF: 0x4_0000, ALL: 0x8_0000, OTHERS: 0xc_0000 } as const;
const BROADCAST = 0xffff_ffff;
const MSI_BROADCAST = 0xff;

/**
 * KVM's local APIC of a TD's vCPU (lapic.c, guest_apic_protected) in x2APIC mode, as far as the guest reaches it with
 * TDG.VP.VMCALL: a file of registers, interprocessor interrupts, the timer. Interrupts are posted; what is requested and in
 * service is the TDX module's virtual-APIC page to know.
 */
export class LocalApic {
  readonly posted = new PostedInterrupts();
  /** vcpu->arch.nmi_pending. */
  nmi = false;
  readonly timer: ApicTimer;
  readonly #regs = new Map<number, number>();
  #icr = 0n;

  constructor(private readonly vcpu: TdVcpu) {
    const { id, vm } = vcpu.vcpu;
    this.timer = new ApicTimer({
      clock: vm.host.clock,
      get busCycleNs() {
        return vm.apicBusCycleNs;
      },
      get tscKhz() {
        return vcpu.vcpu.virtualTscKhz;
      },
      guestTsc: () => vcpu.td.guestTsc(),
      expired: () => this.#deliverLocal(REG.LVTT),
    });
    for (const lvt of Object.keys(LVT_BITS)) this.#regs.set(Number(lvt), MASKED);
    if (id === vm.bspVcpuId) this.#regs.set(REG.LVT0, EXTINT);
    this.#regs.set(REG.ID, id);
    this.#regs.set(REG.LDR, ((id >>> 4) << 16) | (1 << (id & 0xf)));
    this.#regs.set(REG.VERSION, VERSION);
    this.#regs.set(REG.SPIV, 0xff);
  }

  /** The x2APIC id. */
  get id(): number {
    return this.#reg(REG.ID);
  }

  /** kvm_x2apic_msr_read(): undefined where there is no such register. @param reg MSR - 0x800. */
  read(reg: number): bigint | undefined {
    if (!READABLE.has(reg)) return undefined;
    if (reg === REG.ICR) return this.#icr;
    if (reg === REG.TMICT) return BigInt(this.timer.initialCount);
    if (reg === REG.TMCCT) return BigInt(this.timer.currentCount);
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
        this.timer.initialCount = value;
        return true;
      case REG.TDCR:
        this.#regs.set(reg, value & 0xb);
        this.timer.divideConfiguration = value & 0xb;
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

  /** __apic_accept_irq(): INIT and start-up IPIs do nothing to a TD's vCPU. True where it was accepted. */
  accept(mode: number, vector: number): boolean {
    if (mode === MODE.NMI) {
      // Written to the module at the next entry: a vCPU that is inside has to leave for it.
      this.nmi = true;
      this.vcpu.run.kick();
    } else if ((mode === MODE.FIXED || mode === MODE.LOWEST) && this.#enabled) {
      this.posted.post(vector);
      this.vcpu.run.notify();
    } else return false;
    return true;
  }

  /** kvm_apic_local_deliver(). */
  #deliverLocal(lvt: number): void {
    const entry = this.#reg(lvt);
    if ((entry & MASKED) === 0) this.accept(entry & DELIVERY_MODE, entry & VECTOR);
  }

  get #enabled(): boolean {
    return (this.#reg(REG.SPIV) & SPIV_ENABLED) !== 0;
  }

  /** lapic_timer.timer_mode_mask: TSC-deadline mode needs CPUID(1).ECX[24]. */
  get #timerModes(): number {
    const features = findCpuidEntry(this.vcpu.vcpu.cpuid, 1, 0)?.ecx ?? 0;
    return (features & TSC_DEADLINE_TIMER) !== 0 ? TIMER_MODE.PERIODIC | TIMER_MODE.TSC_DEADLINE : TIMER_MODE.PERIODIC;
  }

  #reg(reg: number): number {
    return this.#regs.get(reg) ?? 0;
  }

  #writeLvt(reg: number, value: number): boolean {
    const kept = LVT_BITS[reg]! | (reg === REG.LVTT ? this.#timerModes : 0);
    const entry = (this.#enabled ? value : value | MASKED) & kept;
    this.#regs.set(reg, entry);
    if (reg === REG.LVTT) this.timer.setMode(entry & this.#timerModes);
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
  #send(icr: number, id: number): void {
    const shorthand = icr & SHORTHAND.OTHERS;
    const apics = apicsOf(this.vcpu.td.vm).filter((apic) => {
      if (shorthand === SHORTHAND.NONE) return apic.matches({ id, logical: (icr & LOGICAL) !== 0 });
      return shorthand === SHORTHAND.ALL || (apic === this) === (shorthand === SHORTHAND.SELF);
    });
    deliverTo(apics, icr & DELIVERY_MODE, icr & VECTOR);
  }

  /** kvm_apic_match_dest(), of a local APIC in x2APIC mode. */
  matches({ id, logical, msi }: Destination): boolean {
    if (id === (msi ? MSI_BROADCAST : BROADCAST)) return true;
    if (!logical) return id === this.#reg(REG.ID);
    const ldr = this.#reg(REG.LDR);
    return ldr >>> 16 === id >>> 16 && (ldr & id & 0xffff) !== 0;
  }
}
