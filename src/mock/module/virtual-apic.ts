// The virtual-APIC page of a VCPU and what a processor does with it (SDM volume 3, chapter 31: TPR, PPR and EOI
// virtualisation, self-IPIs, delivery of virtual interrupts). Interrupts here are edge-triggered: KVM posts no others.

/** Offsets in the page. ISR, TMR and IRR are eight registers of 32 bits, 16 bytes apart. */
const OFFSET = { TPR: 0x80, PPR: 0xa0, ISR: 0x100, IRR: 0x200 } as const;
const PAGE = 4096;
/** The upper half of a vector or priority: its class. */
const CLASS = 0xf0;
/** Vectors below 16 are the processor's own. */
const FIRST_VECTOR = 16;

export class VirtualApic {
  readonly #page = new DataView(new ArrayBuffer(PAGE));
  /** RVI: the highest vector in IRR, 0 without any. */
  #requested = 0;

  /** A register as RDMSR gives it. @param reg MSR - 0x800. */
  read(reg: number): number {
    return this.#page.getUint32(reg * 16, true);
  }

  /** 8 bytes of the page, as TDH.VP.RD shows them of a debuggable TD. */
  quadword(index: number): bigint {
    return this.#page.getBigUint64(index * 8, true);
  }

  /** An interrupt arrives: from the posted-interrupt descriptor, or as a self-IPI. */
  request(vector: number): void {
    this.#set(OFFSET.IRR, vector, true);
    this.#requested = Math.max(this.#requested, vector);
  }

  /** TPR virtualisation. @param priority 0 to 255. */
  set taskPriority(priority: number) {
    this.#page.setUint32(OFFSET.TPR, priority, true);
    this.#updatePpr();
  }

  /** The vector that is to be delivered, if any: its class is above the processor's priority. */
  get pending(): number | undefined {
    const requested = this.#requested;
    return (requested & CLASS) > (this.#page.getUint32(OFFSET.PPR, true) & CLASS) ? requested : undefined;
  }

  /** Virtual-interrupt delivery: `pending` becomes the interrupt in service. */
  deliver(vector: number): void {
    this.#set(OFFSET.IRR, vector, false);
    this.#set(OFFSET.ISR, vector, true);
    this.#requested = this.#highest(OFFSET.IRR);
    this.#updatePpr();
  }

  /** EOI virtualisation: the interrupt in service with the highest vector is over. */
  endOfInterrupt(): void {
    const vector = this.#highest(OFFSET.ISR);
    if (vector === 0) return;
    this.#set(OFFSET.ISR, vector, false);
    this.#updatePpr();
  }

  /** PPR virtualisation. */
  #updatePpr(): void {
    const tpr = this.#page.getUint32(OFFSET.TPR, true);
    const inService = this.#highest(OFFSET.ISR) & CLASS;
    this.#page.setUint32(OFFSET.PPR, (tpr & CLASS) >= inService ? tpr : inService, true);
  }

  #set(registers: number, vector: number, on: boolean): void {
    const at = registers + (vector >> 5) * 16;
    const bit = 1 << (vector & 31);
    const old = this.#page.getUint32(at, true);
    this.#page.setUint32(at, on ? old | bit : old & ~bit, true);
  }

  #highest(registers: number): number {
    for (let word = 7; word >= 0; word--) {
      const bits = this.#page.getUint32(registers + word * 16, true);
      if (bits !== 0) return word * 32 + 31 - Math.clz32(bits);
    }
    return 0;
  }
}

/** MSR numbers of the registers that a guest reaches in the page. */
export const X2APIC = { FIRST: 0x800, LAST: 0x8ff, TPR: 0x808, EOI: 0x80b, SELF_IPI: 0x83f } as const;

export const isX2apic = (msr: number): boolean => msr >= X2APIC.FIRST && msr <= X2APIC.LAST;

/** WRMSR that the processor virtualises (SDM volume 3, 31.5); false: #GP, for it is read-only or the value is reserved. */
export function writeX2apic(apic: VirtualApic, msr: number, value: bigint): boolean {
  if (value > 0xffn) return false;
  const byte = Number(value);
  switch (msr) {
    case X2APIC.TPR:
      apic.taskPriority = byte;
      return true;
    case X2APIC.EOI:
      if (byte !== 0) return false;
      apic.endOfInterrupt();
      return true;
    case X2APIC.SELF_IPI:
      // A vector of the processor's own is an error of the local APIC, and no interrupt.
      if (byte >= FIRST_VECTOR) apic.request(byte);
      return true;
    default:
      return false;
  }
}
