import { demand } from '../../mock/kernel/refusal.js';
import { SUPPORTED_MCE } from '../../mock/kernel/run/machine-check.js';
import { ior, iow, iowr } from '../layout/ioctl.js';
import { kvmDeviceAttr } from '../layout/plain.js';
import { kvmMsrList, kvmMsrs } from '../layout/state.js';
import { struct, u64 } from '../layout/struct.js';
import type { SystemObject } from '../objects.js';
import { FEATURE_MSRS, featureMsr, MSR_INDEX_LIST } from './msr-lists.js';
import type { Call, Request } from './request.js';
import { msrIo } from './vcpu-state.js';

const word = struct('u64', 8, { value: u64(0) });

/** A list of MSRs: its length goes back also where it does not fit. */
const listRequest = (name: string, nr: number, list: readonly number[]): Request<SystemObject> => ({
  name,
  number: iowr(nr, kvmMsrList),
  struct: kvmMsrList,
  answer: ({ host }, call) =>
    host.faults.during(name, () => {
      const { nmsrs } = call.read(kvmMsrList);
      call.write(kvmMsrList, { nmsrs: list.length });
      demand(nmsrs >= list.length, 'kvm.msr-list.nmsrs');
      const bytes = new Uint8Array(4 * list.length);
      const view = new DataView(bytes.buffer);
      for (const [i, index] of list.entries()) view.setUint32(4 * i, index, true);
      call.user.write(call.arg + BigInt(kvmMsrList.size), bytes);
      return 0;
    }),
});

/** KVM_X86_XCOMP_GUEST_SUPP is all that /dev/kvm has of device attributes. */
function xcompGuestSupp({ host }: SystemObject, call: Call): { addr: bigint; value: bigint } {
  const { group, attr, addr } = call.read(kvmDeviceAttr);
  demand(group === 0 && attr === 0n, 'kvm.device-attr');
  const leaf = host.supportedCpuid().find((entry) => entry.function === 0xd && entry.index === 0);
  return { addr, value: (BigInt(leaf?.edx ?? 0) << 32n) | BigInt(leaf?.eax ?? 0) };
}

/** What `/dev/kvm` answers about registers (x86.c kvm_arch_dev_ioctl). */
export const plainSystemRequests: readonly Request<SystemObject>[] = [
  listRequest('KVM_GET_MSR_INDEX_LIST', 0x02, MSR_INDEX_LIST),
  listRequest('KVM_GET_MSR_FEATURE_INDEX_LIST', 0x0a, FEATURE_MSRS),
  {
    name: 'KVM_GET_MSRS',
    number: iowr(0x88, kvmMsrs),
    struct: kvmMsrs,
    answer: ({ host }, call) =>
      host.faults.during('KVM_GET_MSRS', () =>
        msrIo(
          call,
          (entry) => {
            const data = featureMsr(host, entry.index);
            entry.data = data ?? 0n;
            return data !== undefined;
          },
          true,
        ),
      ),
  },
  {
    name: 'KVM_X86_GET_MCE_CAP_SUPPORTED',
    number: ior(0x9d, 8),
    argument: 'address',
    answer: ({ host }, call) =>
      host.faults.during('KVM_X86_GET_MCE_CAP_SUPPORTED', () => {
        call.write(word, { value: SUPPORTED_MCE });
        return 0;
      }),
  },
  {
    name: 'KVM_HAS_DEVICE_ATTR',
    number: iow(0xe3, kvmDeviceAttr),
    struct: kvmDeviceAttr,
    answer: (system, call) => {
      xcompGuestSupp(system, call);
      return 0;
    },
  },
  {
    name: 'KVM_GET_DEVICE_ATTR',
    number: iow(0xe2, kvmDeviceAttr),
    struct: kvmDeviceAttr,
    answer: (system, call) => {
      const { addr, value } = xcompGuestSupp(system, call);
      call.user.write(addr, word.encode({ value }));
      return 0;
    },
  },
];
