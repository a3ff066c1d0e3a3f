import { MAX_CPUID_ENTRIES } from '../../mock/kernel/cpuid2.js';
import { preFaultMemory } from '../../mock/kernel/pre-fault.js';
import { demand, Refusal } from '../../mock/kernel/refusal.js';
import type { MachineCheck } from '../../mock/kernel/run/machine-check.js';
import { io, ior, iow, iowr } from '../layout/ioctl.js';
import { kvmDeviceAttr } from '../layout/plain.js';
import { sregsBytes, sregsOf } from '../layout/registers.js';
import {
  kvmGuestDebug,
  kvmInterrupt,
  kvmMpState,
  kvmNestedState,
  kvmPreFaultMemory,
  kvmSignalMask,
  kvmSregs2,
  kvmTprAccessCtl,
  kvmTranslation,
  kvmVapicAddr,
  kvmX86Mce,
} from '../layout/state.js';
import { type Decoded, type Fields, type Struct, struct, u32, u64 } from '../layout/struct.js';
import { kvmEnableCap } from '../layout/vm.js';
import type { VcpuObject } from '../objects.js';
import type { Call, Request } from './request.js';

const MP_STATE = {
  RUNNABLE: 0,
  UNINITIALIZED: 1,
  INIT_RECEIVED: 2,
  HALTED: 3,
  SIPI_RECEIVED: 4,
  AP_RESET_HOLD: 9,
} as const;
const MCI_STATUS_VAL = 1n << 63n;
const INVALID_GPA = (1n << 64n) - 1n;
const PAGE = 4096n;
const KVM_NR_INTERRUPTS = 256;
/** Mode NMI of an interrupt message. */
const NMI = 0x400;
/** KVM_CAP_HYPERV_SYNIC, KVM_CAP_HYPERV_SYNIC2. */
const SYNIC: readonly number[] = [123, 148];
/** KVM_CAP_ENFORCE_PV_FEATURE_CPUID, KVM_CAP_HYPERV_ENFORCE_CPUID. */
const ENFORCE_CPUID: readonly number[] = [190, 199];

const mcgCap = struct('mcg_cap', 8, { mcg_cap: u64(0) });
const offset = struct('offset', 8, { offset: u64(0) });
/** Its entries, of 24 bytes, are behind it. */
const kvmCpuid = struct('kvm_cpuid', 8, { nent: u32(0), padding: u32(4) });
const kvmCpuidEntry = struct('kvm_cpuid_entry', 24, {
  function: u32(0),
  eax: u32(4),
  ebx: u32(8),
  ecx: u32(12),
  edx: u32(16),
});

/** A request of a vCPU that reads a structure and only succeeds. */
export const withStruct = <F extends Fields>(
  name: string,
  number: number,
  struct: Struct<F>,
  body: (vcpu: VcpuObject, value: Decoded<F>, call: Call) => void,
): Request<VcpuObject> => ({
  name,
  number,
  struct,
  answer: (vcpu, call) =>
    vcpu.kernel.request(name, () => {
      body(vcpu, call.read(struct), call);
      return 0;
    }),
});

/** A request of a vCPU without a structure to read. */
export const plain = (
  name: string,
  number: number,
  body: (vcpu: VcpuObject, call: Call) => void,
): Request<VcpuObject> => ({
  name,
  number,
  argument: 'address',
  answer: (vcpu, call) =>
    vcpu.kernel.request(name, () => {
      body(vcpu, call);
      return 0;
    }),
});

/** has_protected_state and guest_state_protected: a TD. KVM offers no debuggable ones. */
export const notProtected = ({ kernel }: VcpuObject): void => demand(kernel.td === undefined, 'kvm.protected-state');

export const apicInKernel = ({ kernel }: VcpuObject): void => demand(kernel.vm.irqchip !== 'none', 'kvm.lapic.kernel');

function mpState({ kernel, plain }: VcpuObject): number {
  if (!kernel.runnable) return MP_STATE.UNINITIALIZED;
  return kernel.td?.run.halted ? MP_STATE.HALTED : (plain.mpState ?? MP_STATE.RUNNABLE);
}

/** kvm_arch_vcpu_ioctl_set_mpstate(): a TD's vCPU takes no INIT and no SIPI (vt_apic_init_signal_blocked). */
function setMpState(vcpu: VcpuObject, state: number): void {
  const { kernel } = vcpu;
  const known = (Object.values(MP_STATE) as number[]).includes(state);
  demand(known && (state === MP_STATE.RUNNABLE || kernel.vm.irqchip !== 'none'), 'kvm.mp-state');
  const init = state === MP_STATE.INIT_RECEIVED || state === MP_STATE.SIPI_RECEIVED;
  demand(!init || kernel.td === undefined, 'kvm.mp-state');
  kernel.runnable = state !== MP_STATE.UNINITIALIZED;
  vcpu.plain.mpState = state;
  if (!kernel.td) return;
  kernel.td.run.halted = state === MP_STATE.HALTED;
  kernel.td.run.wake();
}

/** kvm_vcpu_ioctl_interrupt(). */
function interrupt({ kernel, plain }: VcpuObject, { irq }: Decoded<(typeof kvmInterrupt)['fields']>): void {
  demand(irq < KVM_NR_INTERRUPTS, 'kvm.interrupt.vector');
  if (kernel.vm.irqchip === 'none') return;
  demand(kernel.vm.irqchip === 'split', 'kvm.irqchip.needed');
  demand(plain.pendingVector === undefined, 'kvm.interrupt.pending');
  plain.pendingVector = irq;
}

/** A plain vCPU keeps it and does no more with it. */
const machineCheckOf = ({ kernel, plain }: VcpuObject): MachineCheck =>
  kernel.td?.run.msrs.machineCheck ?? plain.machineCheck;

/** kvm_vcpu_ioctl_enable_cap(). */
function enableCap({ kernel }: VcpuObject, { cap, flags, args }: Decoded<(typeof kvmEnableCap)['fields']>): void {
  demand(flags === 0, 'kvm.enable-cap.flags');
  const synic = SYNIC.includes(cap) && kernel.vm.irqchip !== 'none' && (cap !== SYNIC[1] || args[0] === 0n);
  demand(synic || ENFORCE_CPUID.includes(cap), 'kvm.enable-cap.unknown');
}

/** KVM_VCPU_TSC_CTRL, KVM_VCPU_TSC_OFFSET: all that a vCPU has of device attributes. */
function tscAttribute({ group, attr }: Decoded<(typeof kvmDeviceAttr)['fields']>): void {
  demand(group === 0 && attr === 0n, 'kvm.device-attr');
}

/** vmx_get_nested_state() of a vCPU that never executed VMXON. */
function getNestedState(_: VcpuObject, call: Call): void {
  const { size } = kvmNestedState;
  const sizeAt = call.arg + 4n;
  const given = new DataView(call.user.read(sizeAt, 4).buffer).getUint32(0, true);
  if (given < size) {
    const needed = new Uint8Array(4);
    new DataView(needed.buffer).setUint32(0, size, true);
    call.user.write(sizeAt, needed);
    throw new Refusal('kvm.nested-state.size');
  }
  call.write(kvmNestedState, { size, vmxon_pa: INVALID_GPA, vmcs12_pa: INVALID_GPA });
}

/** kvm_arch_vcpu_ioctl(KVM_SET_NESTED_STATE), vmx_set_nested_state(): only "no nested state" can be set. */
function setNestedState(_: VcpuObject, state: Decoded<(typeof kvmNestedState)['fields']>): void {
  const { flags, format, size, vmxon_pa, vmcs12_pa, smm_flags } = state;
  const none = vmxon_pa === INVALID_GPA && vmcs12_pa === INVALID_GPA && smm_flags === 0;
  demand(size >= kvmNestedState.size && format === 0 && none && (flags & ~4) === 0, 'kvm.nested-state');
}

/** kvm_vcpu_pre_fault_memory(): what is left of the range goes back, whatever came of it. */
function preFault({ kernel }: VcpuObject, call: Call): number {
  return kernel.request('KVM_PRE_FAULT_MEMORY', () => {
    const range = call.read(kvmPreFaultMemory);
    try {
      preFaultMemory(kernel, range);
      return 0;
    } finally {
      call.write(kvmPreFaultMemory, range);
    }
  });
}

function setCpuid({ kernel }: VcpuObject, call: Call): number {
  kernel.setCpuid2(() => {
    const { nent } = call.read(kvmCpuid);
    return {
      nent,
      readEntries: (count) => {
        const bytes = call.user.read(call.arg + BigInt(kvmCpuid.size), count * kvmCpuidEntry.size);
        return Array.from({ length: Math.min(count, MAX_CPUID_ENTRIES) }, (_, i) => ({
          ...kvmCpuidEntry.decode(bytes.subarray(i * kvmCpuidEntry.size)),
          index: 0,
          flags: 0,
        }));
      },
    };
  });
  return 0;
}

/** What a vCPU answers of that which a TD has no use for, kept state apart (kvm_main.c kvm_vcpu_ioctl, x86.c kvm_arch_vcpu_ioctl). */
export const plainVcpuRequests: readonly Request<VcpuObject>[] = [
  plain('KVM_GET_MP_STATE', ior(0x98, kvmMpState), (vcpu, call) => call.write(kvmMpState, { mp_state: mpState(vcpu) })),
  withStruct('KVM_SET_MP_STATE', iow(0x99, kvmMpState), kvmMpState, (vcpu, { mp_state }) => setMpState(vcpu, mp_state)),
  withStruct('KVM_INTERRUPT', iow(0x86, kvmInterrupt), kvmInterrupt, interrupt),
  plain('KVM_NMI', io(0x9a), ({ kernel }) => void kernel.td?.run.apic.accept(NMI, 2)),
  plain('KVM_SMI', io(0xb7), ({ kernel }) => demand(kernel.td === undefined, 'kvm.smi')),
  withStruct('KVM_X86_SETUP_MCE', iow(0x9c, 8), mcgCap, (vcpu, { mcg_cap }) => machineCheckOf(vcpu).setUp(mcg_cap)),
  withStruct('KVM_X86_SET_MCE', iow(0x9e, kvmX86Mce), kvmX86Mce, (vcpu, { bank, status }) =>
    demand(bank < machineCheckOf(vcpu).banks && (status & MCI_STATUS_VAL) !== 0n, 'kvm.mce'),
  ),
  withStruct('KVM_TPR_ACCESS_REPORTING', iowr(0x92, kvmTprAccessCtl), kvmTprAccessCtl, (vcpu, ctl, call) => {
    demand(ctl.flags === 0, 'kvm.flags');
    vcpu.plain.tpr = ctl;
    call.write(kvmTprAccessCtl, ctl);
  }),
  plain('KVM_SET_VAPIC_ADDR', iow(0x93, kvmVapicAddr), (vcpu, call) => {
    apicInKernel(vcpu);
    const { vapic_addr } = call.read(kvmVapicAddr);
    demand(vapic_addr === 0n || vcpu.kernel.vm.slots.find(Number(vapic_addr / PAGE)) !== undefined, 'kvm.vapic');
  }),
  plain('KVM_KVMCLOCK_CTRL', io(0xad), () => {
    throw new Refusal('kvm.kvmclock');
  }),
  withStruct('KVM_ENABLE_CAP', iow(0xa3, kvmEnableCap), kvmEnableCap, enableCap),
  plain('KVM_SET_SIGNAL_MASK', iow(0x8b, kvmSignalMask), (_, call) => {
    // The mask is the client's business: it waits for signals. Here it is only checked.
    if (call.arg === 0n) return;
    demand(call.read(kvmSignalMask).len === 8, 'kvm.signal-mask');
    call.user.read(call.arg + 4n, 8);
  }),
  withStruct('KVM_SET_GUEST_DEBUG', iow(0x9b, kvmGuestDebug), kvmGuestDebug, notProtected),
  withStruct('KVM_TRANSLATE', iowr(0x85, kvmTranslation), kvmTranslation, (_, { linear_address }, call) =>
    call.write(kvmTranslation, { linear_address, physical_address: linear_address, valid: 1, writeable: 1 }),
  ),
  withStruct('KVM_HAS_DEVICE_ATTR', iow(0xe3, kvmDeviceAttr), kvmDeviceAttr, (_, attribute) => tscAttribute(attribute)),
  withStruct('KVM_GET_DEVICE_ATTR', iow(0xe2, kvmDeviceAttr), kvmDeviceAttr, (vcpu, attribute, call) => {
    tscAttribute(attribute);
    call.user.write(attribute.addr, offset.encode({ offset: vcpu.plain.tscOffset }));
  }),
  withStruct('KVM_SET_DEVICE_ATTR', iow(0xe1, kvmDeviceAttr), kvmDeviceAttr, (vcpu, attribute, call) => {
    tscAttribute(attribute);
    const given = offset.decode(call.user.read(attribute.addr, 8)).offset;
    // KVM cannot change what the TDX module manages, and does not say so.
    if (!vcpu.kernel.td) vcpu.plain.tscOffset = given;
  }),
  plain('KVM_GET_NESTED_STATE', iowr(0xbe, kvmNestedState), getNestedState),
  withStruct('KVM_SET_NESTED_STATE', iow(0xbf, kvmNestedState), kvmNestedState, setNestedState),
  plain('KVM_GET_SREGS2', ior(0xcc, kvmSregs2), (vcpu, call) => {
    notProtected(vcpu);
    const { interrupt_bitmap, ...same } = sregsBytes(vcpu.kernel.getSregs());
    call.write(kvmSregs2, same);
  }),
  plain('KVM_SET_SREGS2', iow(0xcd, kvmSregs2), (vcpu, call) => {
    notProtected(vcpu);
    const { flags, pdptrs, ...same } = call.read(kvmSregs2);
    demand((flags & ~1n) === 0n, 'kvm.flags');
    const { interruptBitmap } = vcpu.kernel.getSregs();
    vcpu.kernel.setSregs({ ...sregsOf({ ...same, interrupt_bitmap: interruptBitmap }), interruptBitmap });
  }),
  {
    name: 'KVM_PRE_FAULT_MEMORY',
    number: iowr(0xd5, kvmPreFaultMemory),
    struct: kvmPreFaultMemory,
    answer: preFault,
  },
  { name: 'KVM_SET_CPUID', number: iow(0x8a, kvmCpuid), struct: kvmCpuid, answer: setCpuid },
];
