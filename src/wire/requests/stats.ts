import { io } from '../layout/ioctl.js';
import type { VcpuObject, VmObject } from '../objects.js';
import { VCPU_STATISTICS, VM_STATISTICS } from '../stats/descriptors.js';
import { statisticsFile } from '../stats/file.js';
import type { Request } from './request.js';

const GET_STATS_FD = { name: 'KVM_GET_STATS_FD', number: io(0xce), argument: 'arg' } as const;

/** kvm_main.c kvm_vm_ioctl_get_stats_fd(). */
export const vmStatsRequest: Request<VmObject> = {
  ...GET_STATS_FD,
  answer: (_, { pid }) => ({ file: statisticsFile(`kvm-${pid}`, VM_STATISTICS) }),
};

/** kvm_main.c kvm_vcpu_ioctl_get_stats_fd(). */
export const vcpuStatsRequest: Request<VcpuObject> = {
  ...GET_STATS_FD,
  answer: ({ kernel }, { pid }) => ({ file: statisticsFile(`kvm-${pid}/vcpu-${kernel.id}`, VCPU_STATISTICS) }),
};
