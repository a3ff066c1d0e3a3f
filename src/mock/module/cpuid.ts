import { guestCpuid } from '../../cpuid/index.js';
import { type GuestCall, type GuestException, guestException } from './guest-call.js';

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
