import { KVM_CAP } from '../../kvm/constants.js';
import { KVM_MAX_VCPU_IDS, KVM_MAX_VCPUS } from './check-extension.js';
import { demand, Refusal } from './refusal.js';
import type { Vm } from './vm.js';

/** `struct kvm_enable_cap`. */
export interface EnableCap {
  cap: number;
  flags: number;
  /** u64, as many as were given. */
  args: readonly bigint[];
}

type Enable = (vm: Vm, arg: bigint) => void;

const bitsWithin = (arg: bigint, mask: bigint) => demand((arg & ~mask) === 0n, 'kvm.enable-cap.argument');
const beforeVcpus = (vm: Vm) => demand(vm.createdVcpus === 0, 'kvm.enable-cap.before-vcpus');

/** A capability of which the model only checks the argument. */
const accept =
  (mask?: bigint): Enable =>
  (_, arg) => {
    if (mask !== undefined) bitsWithin(arg, mask);
  };

const U64 = (1n << 64n) - 1n;
const U32 = 0xffff_ffffn;

const enables: Readonly<Record<number, Enable>> = {
  [KVM_CAP.SPLIT_IRQCHIP]: (vm, pins) => {
    demand(pins <= 4096n, 'kvm.split-irqchip.pins');
    demand(vm.irqchip === 'none' && vm.createdVcpus === 0, 'kvm.split-irqchip.once');
    vm.irqchip = 'split';
  },
  [KVM_CAP.X2APIC_API]: accept(3n),
  [KVM_CAP.EXIT_HYPERCALL]: (vm, mask) => {
    bitsWithin(mask, 0x1000n);
    vm.hypercallExits = mask;
  },
  [KVM_CAP.X86_APIC_BUS_CYCLES_NS]: (vm, ns) => {
    demand(ns !== 0n && U32 * 128n * ns <= U64, 'kvm.apic-bus.range');
    demand(vm.irqchip !== 'none', 'kvm.apic-bus.irqchip');
    beforeVcpus(vm);
    vm.apicBusCycleNs = ns;
  },
  [KVM_CAP.MAX_VCPU_ID]: (vm, ids) => {
    demand(ids <= BigInt(KVM_MAX_VCPU_IDS), 'kvm.max-vcpu-id');
    demand(BigInt(vm.bspVcpuId) <= ids, 'kvm.max-vcpu-id');
    if (vm.maxVcpuIds === Number(ids)) return;
    demand(vm.maxVcpuIds === 0, 'kvm.max-vcpu-id');
    vm.maxVcpuIds = Number(ids);
  },
  /** DISABLE_QUIRKS, DISABLE_QUIRKS2 */
  116: accept(),
  213: accept(0x3ffn),
  /** X86_DISABLE_EXITS */
  143: (vm, mask) => {
    bitsWithin(mask, 0xfn);
    beforeVcpus(vm);
  },
  /** MSR_PLATFORM_INFO, EXCEPTION_PAYLOAD, X86_TRIPLE_FAULT_EVENT */
  159: accept(),
  164: accept(),
  218: accept(),
  /** X86_USER_SPACE_MSR: inval, unknown, filter */
  188: (vm, mask) => {
    bitsWithin(mask, 7n);
    vm.userSpaceMsrs = mask;
  },
  /** X86_BUS_LOCK_EXIT: off or exit */
  193: (_, mode) => demand((mode & ~3n) === 0n && mode !== 3n, 'kvm.enable-cap.argument'),
  /** EXIT_ON_EMULATION_FAILURE */
  204: accept(1n),
  /** PMU_CAPABILITY */
  212: (vm, mask) => {
    bitsWithin(mask, 1n);
    beforeVcpus(vm);
  },
  /** X86_NOTIFY_VMEXIT: window in the upper half */
  219: (vm, arg) => {
    demand((arg & U32 & ~3n) === 0n && (arg & 1n) !== 0n, 'kvm.enable-cap.argument');
    beforeVcpus(vm);
  },
  /** HALT_POLL: nanoseconds, a u32 */
  182: (_, ns) => demand(ns <= U32, 'kvm.enable-cap.argument'),
  /** MANUAL_DIRTY_LOG_PROTECT2 */
  168: (_, mask) => demand((mask & ~((mask & 1n) !== 0n ? 3n : 1n)) === 0n, 'kvm.enable-cap.argument'),
};

/** tdx_vm_enable_cap() of the per-VM proposal, called from the default branch of kvm_vm_ioctl_enable_cap. */
function enableMaxVcpus(vm: Vm, wanted: bigint): void {
  if (!vm.host.profile.kernel.maxVcpusSettable || !vm.td) throw new Refusal('kvm.max-vcpus.fixed');
  demand(wanted !== 0n, 'kvm.max-vcpus.value');
  const limit = Math.min(KVM_MAX_VCPUS, vm.td.tdx.sysInfo.maxVcpusPerTd ?? KVM_MAX_VCPUS);
  demand(wanted <= BigInt(limit), 'kvm.max-vcpus.limit');
  demand(vm.createdVcpus === 0, 'kvm.max-vcpus.before-vcpus');
  vm.maxVcpus = Number(wanted);
}

/** KVM_ENABLE_CAP on a VM. */
export function enableCap(vm: Vm, cap: EnableCap): void {
  demand(cap.flags === 0, 'kvm.enable-cap.flags');
  const enable = cap.cap === KVM_CAP.MAX_VCPUS ? enableMaxVcpus : enables[cap.cap];
  if (!enable) throw new Refusal('kvm.enable-cap.unknown');
  enable(vm, cap.args[0] ?? 0n);
}
