import { guestCpuid } from '../../cpuid/index.js';
import type { ModuleFacts } from './facts.js';
import { type GuestCall, type GuestException, guestException } from './guest-call.js';
import type { Vcpu } from './td.js';

/** State of the processor that CPUID depends on and the module does not keep. */
export interface ProcessorState {
  cr4: bigint;
  /** 64-bit mode (CS.L). */
  longMode: boolean;
  /** IA32_TSX_CTRL.TSX_CPUID_CLEAR; false by default. */
  tsxCpuidClear?: boolean;
}

/** EAX, EBX, ECX, EDX. */
export type CpuidRegisters = readonly [number, number, number, number];

const SUPERVISOR = 1;
const USER = 2;

/** Whether the guest asked for a #VE instead of values: for all leaves at this privilege level, or for this one (td_cpuid.c). */
export function asksForVe(
  { cpuidVe, cpuidControl }: Vcpu,
  { cpuidLookup }: ModuleFacts,
  cpl: number,
  leaf: number,
  subleaf: number,
): boolean {
  if (cpl === 0 ? cpuidVe.supervisor : cpuidVe.user) return true;
  const bit = cpl === 0 ? SUPERVISOR : USER;
  return cpuidLookup.some(
    (entry, index) =>
      ((cpuidControl[index] ?? 0) & bit) !== 0 &&
      entry?.leaf === leaf &&
      (entry.subleaf === null || entry.subleaf === subleaf),
  );
}

/** CPUID by the guest, leaf in EAX and sub-leaf in ECX (td_cpuid.c): the registers, or #VE. */
export function cpuid(
  { module, vcpu }: GuestCall,
  { cr4, longMode, tsxCpuidClear = false }: ProcessorState,
  leaf: number,
  subleaf: number,
): CpuidRegisters | GuestException {
  const { td, xcr0, xss, index: vcpuIndex, x2apicId } = vcpu;
  const { tdCtls, featureParavirtCtls } = td;
  const state = { cr4, xcr0, xss, tdCtls, featureParavirtCtls, vcpuIndex, x2apicId, tsxCpuidClear, longMode };
  return (
    guestCpuid(module.host, td.configuration!.registers, state, leaf, subleaf) ?? guestException('module.cpuid.ve')
  );
}
