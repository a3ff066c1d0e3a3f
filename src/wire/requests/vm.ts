import { KVM_CAP, KVM_MEM_GUEST_MEMFD } from '../../kvm/constants.js';
import type { UserMemoryRegion } from '../../mock/kernel/memslots.js';
import { io, iow, iowr } from '../layout/ioctl.js';
import { struct, u64 } from '../layout/struct.js';
import {
  kvmCreateGuestMemfd,
  kvmEnableCap,
  kvmMemoryAttributes,
  kvmUserspaceMemoryRegion,
  kvmUserspaceMemoryRegion2,
} from '../layout/vm.js';
import { GuestMemfdObject, VcpuObject, type VmObject } from '../objects.js';
import type { Call, Request } from './request.js';
import { tdxRequest } from './tdx.js';

const identityMap = struct('identity_map_addr', 8, { address: u64(0) });

function region(call: Call): UserMemoryRegion {
  const { slot, flags, guest_phys_addr, memory_size, userspace_addr } = call.read(kvmUserspaceMemoryRegion);
  return {
    slot,
    flags,
    guestPhysAddr: guest_phys_addr,
    memorySize: memory_size,
    userspaceAddr: userspace_addr,
    guestMemfdOffset: 0n,
  };
}

function region2(call: Call): UserMemoryRegion {
  const { guest_memfd, guest_memfd_offset } = call.read(kvmUserspaceMemoryRegion2);
  const common = { ...region(call), guestMemfdOffset: guest_memfd_offset };
  if ((common.flags & KVM_MEM_GUEST_MEMFD) === 0) return common;
  const file = call.descriptor(guest_memfd | 0);
  const guestMemfd = typeof file === 'object' ? (file.kind === 'guest-memfd' ? file.kernel : 'foreign') : file;
  return { ...common, guestMemfd };
}

const capabilityNames = new Map(Object.entries(KVM_CAP).map(([name, number]) => [number as number, `KVM_CAP_${name}`]));

/** `KVM_CAP_SPLIT_IRQCHIP`; the number of one that this project has no name for. */
export const capabilityName = (capability: number): string | number => capabilityNames.get(capability) ?? capability;

/** Wraps a request that only succeeds. */
const done =
  (body: (vm: VmObject, call: Call) => void): Request<VmObject>['answer'] =>
  (vm, call) => {
    body(vm, call);
    return 0;
  };

/** What a VM answers of that which a TD needs (kvm_main.c kvm_vm_ioctl, x86.c kvm_arch_vm_ioctl). */
export const vmRequests: readonly Request<VmObject>[] = [
  tdxRequest,
  {
    name: 'KVM_CHECK_EXTENSION',
    number: io(0x03),
    argument: 'capability',
    answer: ({ kernel }, { arg }) => kernel.checkExtension(Number(arg)),
  },
  {
    name: 'KVM_CREATE_VCPU',
    number: io(0x41),
    argument: 'id',
    answer: (vm, { arg }) => ({ made: new VcpuObject(vm.kernel.createVcpu(arg), vm) }),
  },
  {
    name: 'KVM_SET_USER_MEMORY_REGION',
    number: iow(0x46, kvmUserspaceMemoryRegion),
    struct: kvmUserspaceMemoryRegion,
    answer: done(({ kernel }, call) => kernel.setUserMemoryRegion(() => region(call))),
  },
  {
    name: 'KVM_SET_USER_MEMORY_REGION2',
    number: iow(0x49, kvmUserspaceMemoryRegion2),
    struct: kvmUserspaceMemoryRegion2,
    answer: done(({ kernel }, call) => kernel.setUserMemoryRegion2(() => region2(call))),
  },
  {
    name: 'KVM_SET_TSS_ADDR',
    number: io(0x47),
    argument: 'address',
    answer: done(({ kernel }, { arg }) => kernel.setTssAddr(arg)),
  },
  {
    name: 'KVM_SET_IDENTITY_MAP_ADDR',
    number: iow(0x48, identityMap),
    struct: identityMap,
    answer: done(({ kernel }, call) => kernel.setIdentityMapAddr(() => call.read(identityMap).address)),
  },
  {
    name: 'KVM_CREATE_IRQCHIP',
    number: io(0x60),
    answer: done(({ kernel }) => kernel.createIrqchip()),
  },
  {
    name: 'KVM_SET_BOOT_CPU_ID',
    number: io(0x78),
    argument: 'id',
    answer: done(({ kernel }, { arg }) => kernel.setBootCpuId(arg)),
  },
  {
    name: 'KVM_SET_TSC_KHZ',
    number: io(0xa2),
    argument: 'khz',
    answer: done(({ kernel }, { arg }) => kernel.setTscKhz(arg)),
  },
  { name: 'KVM_GET_TSC_KHZ', number: io(0xa3), answer: ({ kernel }) => kernel.getTscKhz() },
  {
    name: 'KVM_ENABLE_CAP',
    number: iow(0xa3, kvmEnableCap),
    struct: kvmEnableCap,
    answer: done(({ kernel }, call) => kernel.enableCap(() => call.read(kvmEnableCap))),
    describe: (_, call) => {
      const { cap, flags, args } = call.read(kvmEnableCap);
      const last = args.findLastIndex((arg) => arg !== 0n);
      return {
        args: { capability: capabilityName(cap), ...(flags !== 0 && { flags }), args: args.slice(0, last + 1) },
      };
    },
  },
  {
    name: 'KVM_SET_MEMORY_ATTRIBUTES',
    number: iow(0xd2, kvmMemoryAttributes),
    struct: kvmMemoryAttributes,
    answer: done(({ kernel }, call) => kernel.setMemoryAttributes(() => call.read(kvmMemoryAttributes))),
  },
  {
    name: 'KVM_CREATE_GUEST_MEMFD',
    number: iowr(0xd4, kvmCreateGuestMemfd),
    struct: kvmCreateGuestMemfd,
    answer: (vm, call) => {
      const memfd = vm.kernel.createGuestMemfd(() => call.read(kvmCreateGuestMemfd));
      return { made: new GuestMemfdObject(memfd, vm) };
    },
  },
];
