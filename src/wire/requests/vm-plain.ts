import { KVM_MEM_LOG_DIRTY_PAGES } from '../../kvm/constants.js';
import { bitmapBytes, type MsrFilterArgument } from '../../mock/kernel/msr-filter.js';
import { demand, Refusal } from '../../mock/kernel/refusal.js';
import { io, ior, iow, iowr } from '../layout/ioctl.js';
import {
  kvmClearDirtyLog,
  kvmClockData,
  kvmCoalescedMmioZone,
  kvmCreateDevice,
  kvmDirtyLog,
  kvmEncRegion,
  kvmPmuEventFilter,
} from '../layout/plain.js';
import { kvmMsrFilter } from '../layout/state.js';
import type { Decoded, Fields, Struct } from '../layout/struct.js';
import type { VmObject } from '../objects.js';
import type { Call, Request } from './request.js';

/** KVM_MIN_ALLOC_MMU_PAGES. */
const MIN_MMU_PAGES = 64n;
/** KVM_CLOCK_TSC_STABLE, KVM_CLOCK_REALTIME, KVM_CLOCK_HOST_TSC. */
const CLOCK_FLAGS = 0xe;
const CLOCK_REALTIME = 4;
const U64 = (1n << 64n) - 1n;
const PMU_FILTER_MAX_EVENTS = 300;

/** A request of a VM that reads a structure and only succeeds. */
export const withStruct = <F extends Fields>(
  name: string,
  number: number,
  struct: Struct<F>,
  body: (vm: VmObject, value: Decoded<F>, call: Call) => void,
): Request<VmObject> => ({
  name,
  number,
  struct,
  answer: (vm, call) =>
    vm.kernel.request(name, () => {
      body(vm, call.read(struct), call);
      return 0;
    }),
});

/** A request of a VM with a number, or nothing, as its argument. */
export const withNumber = (
  name: string,
  number: number,
  body: (vm: VmObject, arg: bigint) => void,
  argument = 'arg',
): Request<VmObject> => ({
  name,
  number,
  argument,
  answer: (vm, { arg }) =>
    vm.kernel.request(name, () => {
      body(vm, arg);
      return 0;
    }),
});

const realtime = (): bigint => BigInt(Date.now()) * 1_000_000n;

/** KVM_GET_CLOCK: nanoseconds since the VM began, or as they were set. */
function getClock(vm: VmObject, call: Call): number {
  return vm.kernel.request('KVM_GET_CLOCK', () => {
    const now = process.hrtime.bigint();
    const host_tsc = (now * BigInt(vm.kernel.host.tscKhz)) / 1_000_000n;
    const clock = (now + vm.plain.clockOffset) & U64;
    call.write(kvmClockData, { clock, flags: CLOCK_FLAGS, realtime: realtime(), host_tsc });
    return 0;
  });
}

/** kvm_vm_ioctl_set_clock(). */
function setClock(vm: VmObject, data: Decoded<(typeof kvmClockData)['fields']>): void {
  demand((data.flags & ~CLOCK_FLAGS) === 0, 'kvm.clock.flags');
  const passed = (data.flags & CLOCK_REALTIME) !== 0 ? realtime() - data.realtime : 0n;
  vm.plain.clockOffset = data.clock + (passed > 0n ? passed : 0n) - process.hrtime.bigint();
}

/** The slot that a dirty log is asked of. */
function loggedSlot({ kernel }: VmObject, slot: number) {
  demand(slot >>> 16 < (kernel.hasPrivateMem ? 1 : 2), 'kvm.dirty-log.arguments');
  const found = kernel.slots.byId(slot);
  if (!found || (found.flags & KVM_MEM_LOG_DIRTY_PAGES) === 0) throw new Refusal('kvm.dirty-log.slot');
  return found;
}

/** kvm_get_dirty_log_protect(): nothing that the model executes makes a page dirty that has a log. */
function getDirtyLog(vm: VmObject, { slot, dirty_bitmap }: Decoded<(typeof kvmDirtyLog)['fields']>, call: Call): void {
  const { npages } = loggedSlot(vm, slot);
  call.user.write(dirty_bitmap, new Uint8Array(bitmapBytes(npages)));
}

/** kvm_clear_dirty_log_protect(). */
function clearDirtyLog(vm: VmObject, log: Decoded<(typeof kvmClearDirtyLog)['fields']>, call: Call): void {
  demand((log.first_page & 63n) === 0n, 'kvm.dirty-log.arguments');
  const left = BigInt(loggedSlot(vm, log.slot).npages) - log.first_page;
  const pages = BigInt(log.num_pages);
  const whole = pages === left || (pages < left && (pages & 63n) === 0n);
  demand(left >= 0n && whole, 'kvm.dirty-log.arguments');
  call.user.read(log.dirty_bitmap, bitmapBytes(log.num_pages));
}

/** kvm_vm_ioctl_set_msr_filter(), with the bitmaps in the caller's memory. */
function msrFilter(call: Call): MsrFilterArgument {
  const { flags, ranges } = call.read(kvmMsrFilter);
  const inMemory = ({ bitmap: address, ...range }: (typeof ranges)[number]) => ({
    ...range,
    get bitmap() {
      return call.user.read(address, bitmapBytes(range.nmsrs));
    },
  });
  return { flags, ranges: ranges.map(inMemory) };
}

function setPmuFilter(filter: Decoded<(typeof kvmPmuEventFilter)['fields']>, call: Call): void {
  demand(filter.action <= 1 && (filter.flags & ~1) === 0, 'kvm.pmu-filter');
  demand(filter.nevents <= PMU_FILTER_MAX_EVENTS, 'kvm.pmu-filter.count');
  call.user.read(call.arg + BigInt(kvmPmuEventFilter.size), 8 * filter.nevents);
}

/** What a VM answers of that which a TD has no use for, interrupts apart (kvm_main.c kvm_vm_ioctl, x86.c kvm_arch_vm_ioctl). */
export const plainVmRequests: readonly Request<VmObject>[] = [
  withNumber('KVM_SET_NR_MMU_PAGES', io(0x44), (_, pages) => demand(pages >= MIN_MMU_PAGES, 'kvm.mmu-pages'), 'pages'),
  { name: 'KVM_GET_CLOCK', number: ior(0x7c, kvmClockData), argument: 'address', answer: getClock },
  withStruct('KVM_SET_CLOCK', iow(0x7b, kvmClockData), kvmClockData, setClock),
  withStruct('KVM_GET_DIRTY_LOG', iow(0x42, kvmDirtyLog), kvmDirtyLog, getDirtyLog),
  withStruct('KVM_CLEAR_DIRTY_LOG', iowr(0xc0, kvmClearDirtyLog), kvmClearDirtyLog, clearDirtyLog),
  withNumber('KVM_RESET_DIRTY_RINGS', io(0xc7), () => {
    throw new Refusal('kvm.dirty-ring');
  }),
  withStruct('KVM_REGISTER_COALESCED_MMIO', iow(0x67, kvmCoalescedMmioZone), kvmCoalescedMmioZone, (_, { pio }) =>
    demand(pio <= 1, 'kvm.coalesced-mmio'),
  ),
  withStruct('KVM_UNREGISTER_COALESCED_MMIO', iow(0x68, kvmCoalescedMmioZone), kvmCoalescedMmioZone, (_, { pio }) =>
    demand(pio <= 1, 'kvm.coalesced-mmio'),
  ),
  withStruct('KVM_CREATE_DEVICE', iowr(0xe0, kvmCreateDevice), kvmCreateDevice, () => {
    throw new Refusal('kvm.device.type');
  }),
  {
    name: 'KVM_X86_SET_MSR_FILTER',
    number: iow(0xc6, kvmMsrFilter),
    struct: kvmMsrFilter,
    answer: ({ kernel }, call) => {
      kernel.setMsrFilter(() => msrFilter(call));
      return 0;
    },
  },
  withStruct('KVM_SET_PMU_EVENT_FILTER', iow(0xb2, kvmPmuEventFilter), kvmPmuEventFilter, (_, filter, call) =>
    setPmuFilter(filter, call),
  ),
  withStruct('KVM_MEMORY_ENCRYPT_REG_REGION', ior(0xbb, kvmEncRegion), kvmEncRegion, () => {
    throw new Refusal('kvm.enc-region');
  }),
  withStruct('KVM_MEMORY_ENCRYPT_UNREG_REGION', ior(0xbc, kvmEncRegion), kvmEncRegion, () => {
    throw new Refusal('kvm.enc-region');
  }),
];
