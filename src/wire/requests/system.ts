import { demand } from '../../mock/kernel/refusal.js';
import { Vm } from '../../mock/kernel/vm.js';
import { encodeEntries, kvmCpuid2 } from '../layout/cpuid.js';
import { io, iowr } from '../layout/ioctl.js';
import { type SystemObject, VmObject } from '../objects.js';
import type { Call, Request } from './request.js';

const KVM_API_VERSION = 12;
/** kvm_run, the page of port data and the coalesced MMIO ring. */
export const VCPU_MMAP_SIZE = 3 * 4096;

const withoutArgument = ({ arg }: Call) => demand(arg === 0n, 'kvm.request.argument');

/** What `/dev/kvm` answers (kvm_main.c kvm_dev_ioctl, x86.c kvm_arch_dev_ioctl). */
export const systemRequests: readonly Request<SystemObject>[] = [
  {
    name: 'KVM_GET_API_VERSION',
    number: io(0x00),
    answer: ({ host }, call) =>
      host.faults.during('KVM_GET_API_VERSION', () => {
        withoutArgument(call);
        return KVM_API_VERSION;
      }),
  },
  {
    name: 'KVM_CREATE_VM',
    number: io(0x01),
    argument: 'type',
    answer: ({ host }, { arg, task }) =>
      host.faults.during('KVM_CREATE_VM', () => ({ made: new VmObject(new Vm(host, task, Number(arg)), task) })),
  },
  {
    name: 'KVM_CHECK_EXTENSION',
    number: io(0x03),
    argument: 'capability',
    answer: ({ host }, { arg }) => host.checkExtension(Number(arg)),
  },
  {
    name: 'KVM_GET_VCPU_MMAP_SIZE',
    number: io(0x04),
    answer: ({ host }, call) =>
      host.faults.during('KVM_GET_VCPU_MMAP_SIZE', () => {
        withoutArgument(call);
        return VCPU_MMAP_SIZE;
      }),
  },
  {
    name: 'KVM_GET_SUPPORTED_CPUID',
    number: iowr(0x05, kvmCpuid2),
    struct: kvmCpuid2,
    answer: ({ host }, call) =>
      host.faults.during('KVM_GET_SUPPORTED_CPUID', () => {
        const header = call.read(kvmCpuid2);
        const entries = host.supportedCpuid();
        demand(header.nent >= entries.length, 'kvm.cpuid.nent');
        call.user.write(call.arg + BigInt(kvmCpuid2.size), encodeEntries(entries));
        call.write(kvmCpuid2, { ...header, nent: entries.length });
        return 0;
      }),
  },
];
