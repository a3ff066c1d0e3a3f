import { demand } from '../refusal.js';

/** KVM_MAX_MCE_BANKS. */
const MAX_BANKS = 32;
/** IA32_MCG_CAP: MCG_CTL_P, MCG_CMCI_P, MCG_LMCE_P. */
const CAP = { CTL: 1n << 8n, CMCI: 1n << 10n, LMCE: 1n << 27n } as const;
/** What a program may set besides (MCG_SER_P, the number of banks, that of extended MSRs): KVM_X86_GET_MCE_CAP_SUPPORTED. */
export const SUPPORTED_MCE = 0x0900_0500n;
const NUMBERS = 0xff_00ffn;
const U64 = (1n << 64n) - 1n;
/** MCI_CTL2_CMCI_EN, MCI_CTL2_CMCI_THRESHOLD_MASK. */
const CTL2_BITS = 0x4000_7fffn;

const MSR = { CAP: 0x179, STATUS: 0x17a, CTL: 0x17b, EXT_CTL: 0x4d0, BANK0_CTL2: 0x280, BANK0: 0x400 } as const;

/** The machine-check MSRs of a vCPU (x86.c get_msr_mce, set_msr_mce; tdx.c for IA32_MCG_EXT_CTL). */
export class MachineCheck {
  #cap = BigInt(MAX_BANKS);
  readonly #values = new Map<number, bigint>();

  /** IA32_FEATURE_CONTROL says so too. */
  get hasLocal(): boolean {
    return (this.#cap & CAP.LMCE) !== 0n;
  }

  get banks(): number {
    return Number(this.#cap & 0xffn);
  }

  /** KVM_X86_SETUP_MCE. @throws Refusal EINVAL. */
  setUp(cap: bigint): void {
    const banks = Number(cap & 0xffn);
    demand(banks > 0 && banks <= MAX_BANKS && (cap & ~(SUPPORTED_MCE | NUMBERS)) === 0n, 'kvm.mce');
    this.#cap = cap;
    if ((cap & CAP.CTL) !== 0n) this.#values.set(MSR.CTL, U64);
    for (let bank = 0; bank < banks; bank++) {
      this.#values.set(MSR.BANK0 + 4 * bank, U64);
      if ((cap & CAP.CMCI) !== 0n) this.#values.set(MSR.BANK0_CTL2 + bank, 0n);
    }
  }

  /** Whether the MSR is one of these, of however many banks. */
  has(index: number): boolean {
    const bank = index - MSR.BANK0;
    const ctl2 = index - MSR.BANK0_CTL2;
    const inBanks = (bank >= 0 && bank < 4 * MAX_BANKS) || (ctl2 >= 0 && ctl2 < MAX_BANKS);
    return inBanks || [MSR.CAP, MSR.STATUS, MSR.CTL, MSR.EXT_CTL].some((each) => each === index);
  }

  /** Undefined where KVM refuses. @param host user space asks. */
  read(index: number, host: boolean): bigint | undefined {
    if (index === MSR.CAP) return this.#cap;
    return this.#isThere(index, host) ? (this.#values.get(index) ?? 0n) : undefined;
  }

  /** False where KVM refuses. */
  write(index: number, data: bigint, host: boolean): boolean {
    if (!this.#isThere(index, host) || !this.#accepts(index, data, host)) return false;
    this.#values.set(index, data);
    return true;
  }

  #isThere(index: number, host: boolean): boolean {
    if (index === MSR.CTL) return host || (this.#cap & CAP.CTL) !== 0n;
    if (index === MSR.EXT_CTL) return host || this.hasLocal;
    if (index === MSR.STATUS) return true;
    if (index >= MSR.BANK0) return index < MSR.BANK0 + 4 * this.banks;
    return index < MSR.BANK0_CTL2 + this.banks && (host || (this.#cap & CAP.CMCI) !== 0n);
  }

  #accepts(index: number, data: bigint, host: boolean): boolean {
    if (index === MSR.CAP) return false;
    if (index === MSR.STATUS) return true;
    if (index === MSR.CTL) return data === 0n || (data === U64 && (this.#cap & CAP.CTL) !== 0n);
    if (index === MSR.EXT_CTL) return data <= 1n;
    if (index < MSR.BANK0) return data === 0n || ((this.#cap & CAP.CMCI) !== 0n && (data & ~CTL2_BITS) === 0n);
    // MCi_CTL is all ones, give or take what old kernels clear, or zero; of the guest MCi_STATUS takes only zero.
    if (index % 4 === 0) return data === 0n || (data | 0x401n) === U64;
    return host || index % 4 !== 1 || data === 0n;
  }
}
