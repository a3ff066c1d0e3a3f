import { KVM_CPUID_FLAG_SIGNIFCANT_INDEX } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import { MAX_CPUID_ENTRIES } from '../../mock/kernel/cpuid2.js';
import { demand } from '../../mock/kernel/refusal.js';
import { Vm } from '../../mock/kernel/vm.js';
import { encodeEntries, kvmCpuid2, kvmCpuidEntry2 } from '../layout/cpuid.js';
import { io, iowr } from '../layout/ioctl.js';
import { type SystemObject, VmObject } from '../objects.js';
import type { Call, Request } from './request.js';

const KVM_API_VERSION = 12;
/** Offset of kvm_cpuid_entry2.padding. */
const PADDING = 28;
/** kvm_run, the page of port data and the coalesced MMIO ring. */
export const VCPU_MMAP_SIZE = 3 * 4096;

const withoutArgument = ({ arg }: Call) => demand(arg === 0n, 'kvm.request.argument');

const noLeaf: CpuidEntry = { function: 0, index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 };

/** __do_cpuid_func_emulated(): MOVBE and RDPID, which KVM's emulator has whatever the processor has. */
const EMULATED: readonly CpuidEntry[] = [
  { ...noLeaf, eax: 7 },
  { ...noLeaf, function: 1, ecx: 1 << 22 },
  { ...noLeaf, function: 7, flags: KVM_CPUID_FLAG_SIGNIFCANT_INDEX, ecx: 1 << 22 },
];

/** sanity_check_entries(): what cannot be read is as wrong as padding that is not 0. */
function hasPadding(call: Call, nent: number): boolean {
  const { size } = kvmCpuidEntry2;
  try {
    const bytes = call.user.read(call.arg + BigInt(kvmCpuid2.size), nent * size);
    return bytes.some((byte, i) => i % size >= PADDING && byte !== 0);
  } catch {
    return true;
  }
}

function emulatedCpuid(call: Call): number {
  const header = call.read(kvmCpuid2);
  demand(header.nent >= 1, 'kvm.cpuid.nent');
  demand(!hasPadding(call, Math.min(header.nent, MAX_CPUID_ENTRIES)), 'kvm.cpuid.padding');
  demand(header.nent >= EMULATED.length, 'kvm.cpuid.nent');
  call.user.write(call.arg + BigInt(kvmCpuid2.size), encodeEntries(EMULATED));
  call.write(kvmCpuid2, { ...header, nent: EMULATED.length });
  return 0;
}

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
  {
    name: 'KVM_GET_EMULATED_CPUID',
    number: iowr(0x09, kvmCpuid2),
    struct: kvmCpuid2,
    answer: ({ host }, call) => host.faults.during('KVM_GET_EMULATED_CPUID', () => emulatedCpuid(call)),
  },
];
