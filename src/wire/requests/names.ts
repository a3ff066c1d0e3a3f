import { io, ior, iow, iowr } from '../layout/ioctl.js';

export type ObjectKind = 'system' | 'vm' | 'vcpu';

/**
 * Requests that KVM answers on x86 and the model does not (include/uapi/linux/kvm.h, Linux 6.16; sizes as there). They are
 * refused with ENOTTY, by name; numbers that KVM itself does not know get its own answer.
 */
const NOT_MODELLED: Readonly<Record<ObjectKind, ReadonlyMap<number, string>>> = {
  system: new Map([[iowr(0xc1, 8), 'KVM_GET_SUPPORTED_HV_CPUID']]),
  vm: new Map([
    [iow(0xbd, 24), 'KVM_HYPERV_EVENTFD'],
    [iow(0x7a, 56), 'KVM_XEN_HVM_CONFIG'],
    [iowr(0xc8, 72), 'KVM_XEN_HVM_GET_ATTR'],
    [iow(0xc9, 72), 'KVM_XEN_HVM_SET_ATTR'],
    [iow(0xd0, 12), 'KVM_XEN_HVM_EVTCHN_SEND'],
  ]),
  vcpu: new Map([
    [iowr(0xc1, 8), 'KVM_GET_SUPPORTED_HV_CPUID'],
    [iowr(0xca, 72), 'KVM_XEN_VCPU_GET_ATTR'],
    [iow(0xcb, 72), 'KVM_XEN_VCPU_SET_ATTR'],
  ]),
};

/** Requests of other architectures, which programs try all the same. */
const ELSEWHERE: ReadonlyMap<number, string> = new Map([
  [iow(0xab, 16), 'KVM_GET_ONE_REG'],
  [iow(0xac, 16), 'KVM_SET_ONE_REG'],
  [iowr(0xb0, 8), 'KVM_GET_REG_LIST'],
  [io(0x45), 'KVM_GET_NR_MMU_PAGES'],
  [ior(0xaf, 32), 'KVM_ARM_PREFERRED_TARGET'],
]);

export const isNotModelled = (kind: ObjectKind, number: number): boolean => NOT_MODELLED[kind].has(number);

/** The name of a request that no object of the model answers, or its number. */
export function requestName(number: number): string {
  const tables = [...Object.values(NOT_MODELLED), ELSEWHERE];
  const known = tables.find((table) => table.has(number))?.get(number);
  return known ?? `request 0x${number.toString(16).padStart(8, '0')}`;
}
