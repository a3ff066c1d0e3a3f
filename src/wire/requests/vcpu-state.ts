import { demand } from '../../mock/kernel/refusal.js';
import { decodeArray } from '../layout/cpuid.js';
import { ior, iow, iowr } from '../layout/ioctl.js';
import {
  kvmDebugregs,
  kvmFpu,
  kvmLapicState,
  kvmMsrEntry,
  kvmMsrs,
  kvmVcpuEvents,
  kvmXcrs,
  kvmXsave,
} from '../layout/state.js';
import type { Fields, Struct } from '../layout/struct.js';
import type { VcpuObject } from '../objects.js';
import { isAdvertisedMsr } from './msr-lists.js';
import type { Call, Request } from './request.js';
import { apicInKernel, notProtected, plain } from './vcpu-plain.js';

/** MAX_IO_MSRS. */
export const MAX_IO_MSRS = 256;

/** KVM_VCPUEVENT_VALID_*: NMI_PENDING, SIPI_VECTOR, SHADOW, SMM, PAYLOAD, TRIPLE_FAULT. */
const EVENT_FLAGS = 0x3f;
const EVENT_FLAGS_SHOWN = 0x1 | 0x4 | 0x8;
const NMI_VECTOR = 2;

/** A structure that is read back as it was set; a TD's cannot be read. */
function keptStruct<F extends Fields>(
  name: string,
  struct: Struct<F>,
  get: number,
  set: number,
  check: (vcpu: VcpuObject) => void = notProtected,
): readonly Request<VcpuObject>[] {
  return [
    plain(`KVM_GET_${name}`, get, (vcpu, call) => {
      check(vcpu);
      call.user.write(call.arg, vcpu.plain.kept.get(struct.name) ?? struct.encode({}));
    }),
    plain(`KVM_SET_${name}`, set, (vcpu, call) => {
      // The kernel reads the structure before it looks whose state it is; of a local APIC it asks first whether there is one.
      if (check === protectedApic) apicInKernel(vcpu);
      const bytes = call.user.read(call.arg, struct.size);
      check(vcpu);
      vcpu.plain.kept.set(struct.name, bytes);
    }),
  ];
}

/** guest_apic_protected. */
function protectedApic(vcpu: VcpuObject): void {
  apicInKernel(vcpu);
  demand(vcpu.kernel.td === undefined, 'kvm.lapic.protected');
}

/** The kernel storey keeps these of a plain vCPU. */
const kernelState = (
  name: string,
  kind: 'xsave' | 'xcrs',
  struct: Struct<Fields>,
  get: number,
  set: number,
): readonly Request<VcpuObject>[] => [
  {
    name: `KVM_GET_${name}`,
    number: get,
    struct,
    answer: ({ kernel }, call) => {
      call.user.write(call.arg, kernel.getState(`KVM_GET_${name}`, kind));
      return 0;
    },
  },
  {
    name: `KVM_SET_${name}`,
    number: set,
    struct,
    answer: ({ kernel }, call) => {
      kernel.setState(`KVM_SET_${name}`, kind, call.user.read(call.arg, struct.size));
      return 0;
    },
  },
];

/** kvm_vcpu_ioctl_x86_get_vcpu_events(): of a TD too; KVM knows of no event in it. */
function getEvents(vcpu: VcpuObject, call: Call): void {
  const kept = vcpu.plain.kept.get(kvmVcpuEvents.name);
  call.user.write(call.arg, kept ?? kvmVcpuEvents.encode({ flags: EVENT_FLAGS_SHOWN }));
}

/** kvm_vcpu_ioctl_x86_set_vcpu_events(). */
function setEvents(vcpu: VcpuObject, call: Call): void {
  const events = call.read(kvmVcpuEvents);
  const { exception } = events;
  demand((events.flags & ~EVENT_FLAGS) === 0, 'kvm.vcpu-events');
  const injected = exception.injected !== 0 || ((events.flags & 0x10) !== 0 && exception.pending !== 0);
  demand(!injected || (exception.nr <= 31 && exception.nr !== NMI_VECTOR), 'kvm.vcpu-events');
  vcpu.plain.kept.set(kvmVcpuEvents.name, kvmVcpuEvents.encode({ ...events, flags: EVENT_FLAGS_SHOWN }));
}

/** kvm_get_msr_ignored_check() for the host: undefined where KVM refuses. */
function readMsr({ kernel, plain }: VcpuObject, index: number): bigint | undefined {
  if (kernel.td) return kernel.td.run.msrs.read(index, 'host');
  return plain.msrs.get(index) ?? (isAdvertisedMsr(index) ? 0n : undefined);
}

function writeMsr({ kernel, plain }: VcpuObject, index: number, data: bigint): boolean {
  if (kernel.td) return kernel.td.run.msrs.write(index, data, 'host');
  if (!isAdvertisedMsr(index)) return false;
  plain.msrs.set(index, data);
  return true;
}

/** msr_io(): how many MSRs were read or written, up to the first that is refused. */
export function msrIo(
  call: Call,
  each: (entry: { index: number; data: bigint }) => boolean,
  writesBack: boolean,
): number {
  const { nmsrs } = call.read(kvmMsrs);
  demand(nmsrs < MAX_IO_MSRS, 'kvm.msrs.count');
  const at = call.arg + BigInt(kvmMsrs.size);
  const entries = decodeArray(kvmMsrEntry, call.user.read(at, nmsrs * kvmMsrEntry.size));
  const refused = entries.findIndex((entry) => !each(entry));
  if (writesBack) call.user.write(at, Buffer.concat(entries.map((entry) => kvmMsrEntry.encode(entry))));
  return refused < 0 ? nmsrs : refused;
}

/** State of a vCPU that KVM hands out and takes in. Of a TD it has none (x86.c, has_protected_state). */
export const vcpuStateRequests: readonly Request<VcpuObject>[] = [
  ...keptStruct('FPU', kvmFpu, ior(0x8c, kvmFpu), iow(0x8d, kvmFpu)),
  ...kernelState('XCRS', 'xcrs', kvmXcrs, ior(0xa6, kvmXcrs), iow(0xa7, kvmXcrs)),
  ...keptStruct('DEBUGREGS', kvmDebugregs, ior(0xa1, kvmDebugregs), iow(0xa2, kvmDebugregs)),
  ...kernelState('XSAVE', 'xsave', kvmXsave, ior(0xa4, kvmXsave), iow(0xa5, kvmXsave)),
  keptStruct('XSAVE2', kvmXsave, ior(0xcf, kvmXsave), 0)[0]!,
  ...keptStruct('LAPIC', kvmLapicState, ior(0x8e, kvmLapicState), iow(0x8f, kvmLapicState), protectedApic),
  plain('KVM_GET_VCPU_EVENTS', ior(0x9f, kvmVcpuEvents), getEvents),
  plain('KVM_SET_VCPU_EVENTS', iow(0xa0, kvmVcpuEvents), setEvents),
  {
    name: 'KVM_GET_MSRS',
    number: iowr(0x88, kvmMsrs),
    struct: kvmMsrs,
    answer: (vcpu, call) =>
      vcpu.kernel.request('KVM_GET_MSRS', () =>
        msrIo(
          call,
          (entry) => {
            const data = readMsr(vcpu, entry.index);
            entry.data = data ?? 0n;
            return data !== undefined;
          },
          true,
        ),
      ),
  },
  {
    name: 'KVM_SET_MSRS',
    number: iow(0x89, kvmMsrs),
    struct: kvmMsrs,
    answer: (vcpu, call) =>
      vcpu.kernel.request('KVM_SET_MSRS', () => msrIo(call, ({ index, data }) => writeMsr(vcpu, index, data), false)),
  },
];
