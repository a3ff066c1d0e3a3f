import type { Vm } from '../vm.js';
import type { LocalApic } from './local-apic.js';

/** Delivery modes that TDs know, of an ICR or an MSI. */
export const MODE = { FIXED: 0, LOWEST: 0x100, NMI: 0x400 } as const;

/** Where an interrupt goes: the ICR of an interprocessor interrupt, or what an MSI says. */
export interface Destination {
  id: number;
  logical: boolean;
  /** An MSI's id has 8 bits, all ones are a broadcast. */
  msi?: boolean;
}

/** Local APICs of a TD, by vcpu_id. */
export const apicsOf = ({ vcpus }: Vm): LocalApic[] =>
  [...vcpus.values()].flatMap(({ td }) => (td ? [td.run.apic] : [])).sort((a, b) => a.id - b.id);

/** How many took the interrupt. One with the lowest priority goes to a single APIC: here the first that takes it. */
export function deliverTo(apics: readonly LocalApic[], mode: number, vector: number): number {
  let count = 0;
  for (const apic of apics) {
    if (apic.accept(mode, vector)) count++;
    if (mode === MODE.LOWEST && count > 0) break;
  }
  return count;
}

/**
 * kvm_irq_delivery_to_apic() of an interrupt that comes from outside the processors.
 * @returns how many vCPUs took it, -1 where nobody is addressed.
 */
export function deliverMsi(vm: Vm, destination: Destination, mode: number, vector: number): number {
  const apics = apicsOf(vm).filter((apic) => apic.matches(destination));
  return apics.length === 0 ? -1 : deliverTo(apics, mode, vector);
}
