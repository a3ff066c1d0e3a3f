import { maxPhyAddr } from '../cpuid2.js';
import { MachineCheck } from './machine-check.js';
import type { TdRun } from './td-run.js';

const APIC_BASE_MSR = 0x800;

/** MSR addresses (SDM volume 4; KVM's own in asm/kvm_para.h). */
const MSR = {
  APICBASE: 0x1b,
  FEAT_CTL: 0x3a,
  UCODE_REV: 0x8b,
  PLATFORM_INFO: 0xce,
  MTRRCAP: 0xfe,
  MISC_FEATURES_ENABLES: 0x140,
  MISC_ENABLE: 0x1a0,
  POWER_CTL: 0x1fc,
  PAT: 0x277,
  MTRR_DEF_TYPE: 0x2ff,
  TSC_DEADLINE: 0x6e0,
  KVM_POLL_CONTROL: 0x4b56_4d05,
  EFER: 0xc000_0080,
} as const;

/** tdx_has_emulated_msr(): registers of the x2APIC that the processor virtualises, so KVM does not have them. */
const VIRTUALISED_X2APIC: ReadonlySet<number> = new Set([0x08, 0x0a, 0x0b, 0x10, 0x18, 0x20]);

/** Who asks (msr_data.host_initiated): the TD, or user space with KVM_GET_MSRS and KVM_SET_MSRS. */
export type Asker = 'guest' | 'host';

/** One MSR: how it reads, and whether it takes a value. */
interface Msr {
  read(run: TdRun, asker: Asker): bigint | undefined;
  write(run: TdRun, data: bigint, asker: Asker): boolean;
}

const readOnly = (read: Msr['read']): Msr => ({ read, write: () => false });
const constant = (value: bigint): Msr => readOnly(() => value);

/** An MSR that is kept and does nothing. */
const kept = (index: number, reset = 0n, accepts: (data: bigint, run: TdRun) => boolean = () => true): Msr => ({
  read: ({ msrs }) => msrs.kept.get(index) ?? reset,
  write: (run, data) => {
    if (!accepts(data, run)) return false;
    run.msrs.kept.set(index, data);
    return true;
  },
});

/** As `msr`, and user space has a value of its own there that `accepts` decides on. */
const hostSets = (index: number, msr: Msr, accepts: (data: bigint) => boolean = () => true): Msr => ({
  read: (run, asker) => run.msrs.kept.get(index) ?? msr.read(run, asker),
  write: (run, data, asker) => {
    if (asker === 'guest') return msr.write(run, data, asker);
    if (accepts(data)) run.msrs.kept.set(index, data);
    return accepts(data);
  },
});

const bytesOf = (data: bigint): number[] =>
  Array.from({ length: 8 }, (_, i) => Number((data >> BigInt(8 * i)) & 0xffn));
/** UC, WC, WT, WP, WB; a page attribute may be UC- too. */
const isMemoryType = (type: number): boolean => [0, 1, 4, 5, 6].includes(type);
const isPageAttribute = (type: number): boolean => isMemoryType(type) || type === 7;
const lowByte = (data: bigint): number => Number(data & 0xffn);

const MISC_ENABLE_EMON = 1n << 7n;
/** BTS and PEBS unavailable. */
const MISC_ENABLE_PMU = 3n << 11n;
const FEAT_CTL_LOCKED = 1n;
const FEAT_CTL_LMCE = 1n << 20n;
const APIC_BASE_X2APIC = 0xfee0_0c00n;
const APIC_BASE_BSP = 0x100n;

const PLATFORM_INFO_CPUID_FAULT = 1n << 31n;
const platformInfo = hostSets(MSR.PLATFORM_INFO, constant(PLATFORM_INFO_CPUID_FAULT));
/** supports_cpuid_fault(). */
const mayFault = (run: TdRun, data: bigint): boolean =>
  data === 1n && (platformInfo.read(run, 'guest')! & PLATFORM_INFO_CPUID_FAULT) !== 0n;

const miscEnable = kept(MSR.MISC_ENABLE, MISC_ENABLE_PMU);

const TABLE: ReadonlyMap<number, Msr> = new Map<number, Msr>([
  [
    MSR.APICBASE,
    readOnly(({ vcpu: { vcpu } }) => APIC_BASE_X2APIC | (vcpu.id === vcpu.vm.bspVcpuId ? APIC_BASE_BSP : 0n)),
  ],
  [MSR.FEAT_CTL, readOnly(({ msrs }) => FEAT_CTL_LOCKED | (msrs.machineCheck.hasLocal ? FEAT_CTL_LMCE : 0n))],
  [MSR.UCODE_REV, hostSets(MSR.UCODE_REV, { read: () => 0n, write: () => true })],
  [MSR.PLATFORM_INFO, platformInfo],
  [MSR.MTRRCAP, constant(0x508n)],
  [MSR.MISC_FEATURES_ENABLES, kept(MSR.MISC_FEATURES_ENABLES, 0n, (data, run) => data === 0n || mayFault(run, data))],
  [
    MSR.MISC_ENABLE,
    {
      read: miscEnable.read,
      write: (run, data, asker) => {
        if (asker === 'host') return miscEnable.write(run, data, asker);
        const old = miscEnable.read(run, asker)!;
        if (((old ^ data) & MISC_ENABLE_PMU) !== 0n) return false;
        return miscEnable.write(run, (data & ~MISC_ENABLE_EMON) | (old & MISC_ENABLE_EMON), asker);
      },
    },
  ],
  [MSR.POWER_CTL, kept(MSR.POWER_CTL)],
  [MSR.PAT, kept(MSR.PAT, 0x0007_0406_0007_0406n, (data) => bytesOf(data).every(isPageAttribute))],
  [MSR.MTRR_DEF_TYPE, kept(MSR.MTRR_DEF_TYPE, 0n, (data) => (data & ~0xcffn) === 0n && isMemoryType(lowByte(data)))],
  [
    MSR.TSC_DEADLINE,
    {
      read: ({ apic }) => apic.timer.tscDeadline,
      write: ({ apic }, data) => {
        apic.timer.tscDeadline = data;
        return true;
      },
    },
  ],
  [MSR.KVM_POLL_CONTROL, kept(MSR.KVM_POLL_CONTROL, 1n, (data) => data <= 1n)],
  [MSR.EFER, constant(0xd01n)],
  ...[0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f].map(
    (index) => [index, kept(index, 0n, (data) => bytesOf(data).every(isMemoryType))] as const,
  ),
  ...Array.from({ length: 16 }, (_, i) => [0x200 + i, kept(0x200 + i, 0n, variableMtrr(i))] as const),
]);

/** kvm_mtrr_valid() of IA32_MTRR_PHYSBASEn (even) and IA32_MTRR_PHYSMASKn. */
function variableMtrr(i: number): (data: bigint, run: TdRun) => boolean {
  const reserved = i % 2 === 0 ? 0xf00n : 0x7ffn;
  return (data, { vcpu }) => {
    const width = BigInt(maxPhyAddr(vcpu.vcpu.cpuid));
    return (data & reserved) === 0n && data >> width === 0n && (i % 2 === 1 || isMemoryType(lowByte(data)));
  };
}

/**
 * MSRs that a TD reads and writes with TDG.VP.VMCALL, and user space with KVM_GET_MSRS and KVM_SET_MSRS (tdx_get_msr, tdx_set_msr, kvm_get_msr_common, kvm_set_msr_common),
 * with KVM's defaults: no local machine check, no CMCI, quirks as they are. ARCH_CAPABILITIES, which a TD has natively, is
 * not among them.
 */
export class Msrs {
  readonly kept = new Map<number, bigint>();
  readonly machineCheck = new MachineCheck();

  constructor(private readonly run: TdRun) {}

  /** Undefined where KVM refuses. */
  read(index: number, asker: Asker): bigint | undefined {
    if (this.machineCheck.has(index)) return this.machineCheck.read(index, asker === 'host');
    const x2apic = x2apicRegister(index);
    return x2apic === undefined ? TABLE.get(index)?.read(this.run, asker) : this.run.apic.read(x2apic);
  }

  /** False where KVM refuses. */
  write(index: number, data: bigint, asker: Asker): boolean {
    if (this.machineCheck.has(index)) return this.machineCheck.write(index, data, asker === 'host');
    const x2apic = x2apicRegister(index);
    return x2apic === undefined
      ? (TABLE.get(index)?.write(this.run, data, asker) ?? false)
      : this.run.apic.write(x2apic, data);
  }
}

function x2apicRegister(index: number): number | undefined {
  const register = index - APIC_BASE_MSR;
  return register >= 0 && register <= 0xff && !VIRTUALISED_X2APIC.has(register) ? register : undefined;
}
