import { MAX_CPUID_ENTRIES } from '../../mock/kernel/cpuid2.js';
import { demand } from '../../mock/kernel/refusal.js';
import { decodeEntries, encodeEntries, kvmCpuid2, kvmCpuidEntry2 } from '../layout/cpuid.js';
import { io, ior, iow, iowr } from '../layout/ioctl.js';
import { kvmRegs, kvmSregs, sregsBytes, sregsOf } from '../layout/registers.js';
import type { VcpuObject } from '../objects.js';
import type { Call, Request } from './request.js';
import { runRequest } from './run.js';
import { cpuidRow, tdxRequest } from './tdx.js';

const ENTRIES = BigInt(kvmCpuid2.size);

function setCpuid2({ kernel }: VcpuObject, call: Call): number {
  kernel.setCpuid2(() => ({
    ...call.read(kvmCpuid2),
    readEntries: (nent) => decodeEntries(call.user.read(call.arg + ENTRIES, nent * kvmCpuidEntry2.size)),
  }));
  return 0;
}

function getCpuid2({ kernel }: VcpuObject, call: Call): number {
  return kernel.request('KVM_GET_CPUID2', () => {
    const header = call.read(kvmCpuid2);
    demand(header.nent >= kernel.cpuid.length, 'kvm.cpuid.nent');
    call.user.write(call.arg + ENTRIES, encodeEntries(kernel.cpuid));
    call.write(kvmCpuid2, { ...header, nent: kernel.cpuid.length });
    return 0;
  });
}

/** What a vCPU answers of that which a TD needs (kvm_main.c kvm_vcpu_ioctl, x86.c kvm_arch_vcpu_ioctl). */
export const vcpuRequests: readonly Request<VcpuObject>[] = [
  tdxRequest,
  runRequest,
  {
    name: 'KVM_GET_REGS',
    number: ior(0x81, kvmRegs),
    struct: kvmRegs,
    answer: ({ kernel }, call) => {
      call.write(kvmRegs, kernel.getRegs());
      return 0;
    },
  },
  {
    name: 'KVM_SET_REGS',
    number: iow(0x82, kvmRegs),
    struct: kvmRegs,
    answer: ({ kernel }, call) => {
      // The kernel reads the structure before it looks whose registers they are.
      kernel.vm.checkAlive();
      kernel.setRegs(call.read(kvmRegs));
      return 0;
    },
  },
  {
    name: 'KVM_GET_SREGS',
    number: ior(0x83, kvmSregs),
    struct: kvmSregs,
    answer: ({ kernel }, call) => {
      call.write(kvmSregs, sregsBytes(kernel.getSregs()));
      return 0;
    },
  },
  {
    name: 'KVM_SET_SREGS',
    number: iow(0x84, kvmSregs),
    struct: kvmSregs,
    answer: ({ kernel }, call) => {
      kernel.vm.checkAlive();
      kernel.setSregs(sregsOf(call.read(kvmSregs)));
      return 0;
    },
  },
  {
    name: 'KVM_SET_CPUID2',
    number: iow(0x90, kvmCpuid2),
    struct: kvmCpuid2,
    answer: setCpuid2,
    describe: (_, call) => {
      const { nent } = call.read(kvmCpuid2);
      const bytes = call.user.read(call.arg + ENTRIES, Math.min(nent, MAX_CPUID_ENTRIES) * kvmCpuidEntry2.size);
      return { args: { nent, cpuid: decodeEntries(bytes).map(cpuidRow) } };
    },
  },
  { name: 'KVM_GET_CPUID2', number: iowr(0x91, kvmCpuid2), struct: kvmCpuid2, answer: getCpuid2 },
  {
    name: 'KVM_SET_TSC_KHZ',
    number: io(0xa2),
    argument: 'khz',
    answer: ({ kernel }, { arg }) => {
      kernel.setTscKhz(arg);
      return 0;
    },
  },
  { name: 'KVM_GET_TSC_KHZ', number: io(0xa3), answer: ({ kernel }) => kernel.getTscKhz() },
];
