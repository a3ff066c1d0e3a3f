import { io, ior, iow, iowr } from '../layout/ioctl.js';

/** Requests that KVM has on x86 and the model does not (include/uapi/linux/kvm.h, Linux 6.16), to name them where they are refused. */
export const NOT_MODELLED: ReadonlyMap<number, string> = new Map([[io(0x07), 'KVM_S390_ENABLE_SIE']]);

/** The name of a number that no object of the model answers. */
export const requestName = (number: number): string =>
  NOT_MODELLED.get(number) ?? `request 0x${number.toString(16).padStart(8, '0')}`;

void ior;
void iow;
void iowr;
