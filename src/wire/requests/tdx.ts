import { iowr } from '../layout/ioctl.js';
import { kvmTdxCmd } from '../layout/tdx.js';
import type { VcpuObject, VmObject } from '../objects.js';
import { tdxCmdAt, tdxDataIn } from '../tdx-data.js';
import type { Request } from './request.js';

/** KVM_MEMORY_ENCRYPT_OP of a VM and of a vCPU: the kernel storey reads and writes the caller's memory by itself. */
export const tdxRequest: Request<VmObject | VcpuObject> = {
  name: 'KVM_MEMORY_ENCRYPT_OP',
  number: iowr(0xba, 8),
  struct: kvmTdxCmd,
  answer: ({ kernel }, { arg, user }) => {
    kernel.memoryEncryptOp(tdxCmdAt(user, arg), tdxDataIn(user));
    return 0;
  },
};
