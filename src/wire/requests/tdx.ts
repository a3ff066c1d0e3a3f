import { KVM_TDX } from '../../kvm/constants.js';
import type { CpuidEntry } from '../../kvm/cpuid.js';
import { decodeTdxStatus } from '../../kvm/status.js';
import { MAX_CPUID_ENTRIES } from '../../mock/kernel/cpuid2.js';
import { TDX_COMMAND_NAMES } from '../../mock/kernel/td.js';
import { kvmCpuid2 } from '../layout/cpuid.js';
import { iowr } from '../layout/ioctl.js';
import type { Decoded, Fields, Struct } from '../layout/struct.js';
import { kvmTdxCapabilities, kvmTdxCmd, kvmTdxInitMemRegion } from '../layout/tdx.js';
import type { VcpuObject, VmObject } from '../objects.js';
import { tdxCmdAt, tdxDataIn } from '../tdx-data.js';
import type { UserMemory } from '../user-memory.js';
import type { Call, Description, Request } from './request.js';

/** KVM_MEMORY_ENCRYPT_OP of a VM and of a vCPU: the kernel storey reads and writes the caller's memory by itself. */
export const tdxRequest: Request<VmObject | VcpuObject> = {
  name: 'KVM_MEMORY_ENCRYPT_OP',
  number: iowr(0xba, 8),
  struct: kvmTdxCmd,
  answer: ({ kernel }, { arg, user }) => {
    kernel.memoryEncryptOp(tdxCmdAt(user, arg), tdxDataIn(user));
    return 0;
  },
  describe,
  outcome,
};

const peek = <F extends Fields>(user: UserMemory, struct: Struct<F>, address: bigint): Decoded<F> =>
  struct.decode(user.peek(address, struct.size));

const hex = (value: number): string => value.toString(16).padStart(8, '0');

/** `7.0: eax ebx ecx edx`; without the significant-index flag `7:`. */
export const cpuidRow = ({ function: leaf, index, flags, eax, ebx, ecx, edx }: CpuidEntry): string =>
  `${leaf.toString(16)}${(flags & 1) === 1 ? `.${index}` : ''}: ${[eax, ebx, ecx, edx].map(hex).join(' ')}`;

/** Sub-commands by what their data is. */
const DATA: Readonly<Record<number, (user: UserMemory, data: bigint, flags: number) => Record<string, unknown>>> = {
  [KVM_TDX.CAPABILITIES]: (user, data) => ({ nent: tdxDataIn(user).capabilities(data).readNent() }),
  [KVM_TDX.INIT_VM]: (user, data) => {
    const init = tdxDataIn(user).initVm(data);
    const { nent, reserved, padding, ...rest } = init.readHeader();
    const given = Object.entries(rest).filter(
      ([, value]) => typeof value === 'bigint' || value.some((byte) => byte !== 0),
    );
    const entries = nent <= MAX_CPUID_ENTRIES ? init.readEntries(nent).map(cpuidRow) : [];
    return { ...Object.fromEntries(given), nent, cpuid: entries };
  },
  [KVM_TDX.INIT_VCPU]: (_, rcx) => ({ rcx }),
  [KVM_TDX.INIT_MEM_REGION]: (user, data, flags) => ({
    ...peek(user, kvmTdxInitMemRegion, data),
    measure: (flags & 1) === 1,
  }),
  [KVM_TDX.GET_CPUID]: (user, data) => ({ nent: peek(user, kvmCpuid2, data).nent }),
};

function describe(_: unknown, call: Call): Description {
  const { id, flags, data, hw_error } = call.read(kvmTdxCmd);
  const name = TDX_COMMAND_NAMES[id] ?? `KVM_MEMORY_ENCRYPT_OP ${id}`;
  const args: Record<string, unknown> = {};
  if (flags !== 0) args['flags'] = flags;
  if (hw_error !== 0n) args['hw_error'] = hw_error;
  try {
    Object.assign(args, DATA[id]?.(call.user, data, flags));
  } catch {
    args['data'] = `${data.toString(16)}: not mapped`;
  }
  return { name, args };
}

function outcome({ kind }: VmObject | VcpuObject, { arg, user }: Call): Record<string, unknown> {
  const { id, data, hw_error } = peek(user, kvmTdxCmd, arg);
  const hwError = kind === 'vm' && hw_error !== 0n ? { hwError: decodeTdxStatus(hw_error).text } : {};
  if (id === KVM_TDX.INIT_MEM_REGION) {
    const { gpa, nr_pages } = peek(user, kvmTdxInitMemRegion, data);
    return { gpa, nr_pages };
  }
  if (id === KVM_TDX.GET_CPUID) return { nent: peek(user, kvmCpuid2, data).nent };
  if (id !== KVM_TDX.CAPABILITIES || hw_error !== 0n) return hwError;
  const { supported_attrs, supported_xfam, cpuid } = peek(user, kvmTdxCapabilities, data);
  return { supported_attrs, supported_xfam, nent: cpuid.nent };
}
