import { KVM_TDX } from '../../kvm/constants.js';
import { demand, Refusal } from './refusal.js';
import { TDX_COMMAND_NAMES, type Td } from './td.js';
import { tdxVcpuGetCpuid } from './td-cpuid.js';
import { tdxTdFinalize } from './td-finalize.js';
import { tdxTdInit } from './td-init.js';
import { tdxVcpuInitMemRegion } from './td-memory.js';
import type { TdVcpu } from './td-vcpu.js';
import { tdxCapabilities } from './tdx-host.js';
import type { TdxCmd, TdxCmdData, UserValue } from './user.js';

type VmCommand = (td: Td, cmd: TdxCmd, data: TdxCmdData) => void;
type VcpuCommand = (vcpu: TdVcpu, cmd: TdxCmd, data: TdxCmdData) => void;

const vmCommands: Readonly<Record<number, VmCommand>> = {
  [KVM_TDX.CAPABILITIES]: tdxGetCapabilities,
  [KVM_TDX.INIT_VM]: tdxTdInit,
  [KVM_TDX.FINALIZE_VM]: tdxTdFinalize,
};

const vcpuCommands: Readonly<Record<number, VcpuCommand>> = {
  [KVM_TDX.INIT_VCPU]: (vcpu, cmd) => vcpu.init(cmd),
  [KVM_TDX.INIT_MEM_REGION]: tdxVcpuInitMemRegion,
  [KVM_TDX.GET_CPUID]: tdxVcpuGetCpuid,
};

const nameOf = (id: number): string => TDX_COMMAND_NAMES[id] ?? `KVM_TDX command ${id}`;

/** tdx_vm_ioctl(): the structure, with hw_error, goes back whatever a known command answers. */
export function tdxVmIoctl(td: Td, user: UserValue<TdxCmd>, data: TdxCmdData): void {
  const cmd = user.read();
  demand(cmd.hwError === 0n, 'kvm.tdx.hw-error-in');
  td.host.faults.during(nameOf(cmd.id), () => {
    const command = vmCommands[cmd.id];
    if (!command) throw new Refusal('kvm.tdx.command');
    try {
      command(td, cmd, data);
    } finally {
      user.write(cmd);
    }
  });
}

/** tdx_vcpu_ioctl(): the state counts before the structure is read, and nothing of it goes back. */
export function tdxVcpuIoctl(vcpu: TdVcpu, user: UserValue<TdxCmd>, data: TdxCmdData): void {
  const { td } = vcpu;
  demand(td.hkid !== undefined && td.state !== 'runnable', 'kvm.tdx-vcpu.td-state');
  const cmd = user.read();
  demand(cmd.hwError === 0n, 'kvm.tdx.hw-error-in');
  td.host.faults.during(nameOf(cmd.id), () => {
    const command = vcpuCommands[cmd.id];
    if (!command) throw new Refusal('kvm.tdx.command');
    command(vcpu, cmd, data);
  });
}

/** KVM_TDX_CAPABILITIES. Too small a buffer is not told the needed size. */
function tdxGetCapabilities(td: Td, cmd: TdxCmd, data: TdxCmdData): void {
  demand(cmd.flags === 0, 'kvm.capabilities.flags');
  const user = data.capabilities(cmd.data);
  const caps = tdxCapabilities(td.tdx);
  demand(user.readNent() >= caps.cpuid.length, 'kvm.capabilities.nent');
  user.writeHeader(caps);
  user.writeEntries(caps.cpuid);
}
