import { demand, Refusal } from '../../mock/kernel/refusal.js';
import type { Vm } from '../../mock/kernel/vm.js';
import { decodeArray } from '../layout/cpuid.js';
import { io, ior, iow, iowr } from '../layout/ioctl.js';
import {
  kvmIoeventfd,
  kvmIrqchip,
  kvmIrqfd,
  kvmIrqLevel,
  kvmIrqRouting,
  kvmIrqRoutingEntry,
  kvmMsi,
  kvmPitConfig,
  kvmPitState,
  kvmPitState2,
  kvmReinjectControl,
} from '../layout/plain.js';
import type { Decoded, Fields, Struct } from '../layout/struct.js';
import type { VmObject } from '../objects.js';
import type { Call, Request } from './request.js';
import { withNumber, withStruct } from './vm-plain.js';

type RoutingEntry = Decoded<(typeof kvmIrqRoutingEntry)['fields']>;
type Msi = Pick<Decoded<(typeof kvmMsi)['fields']>, 'address_lo' | 'address_hi' | 'data'>;

const KVM_MAX_IRQ_ROUTES = 4096;
const ROUTING = { IRQCHIP: 1, MSI: 2, HV_SINT: 4 } as const;
const IRQFD = { DEASSIGN: 1, RESAMPLE: 2 } as const;
const IOEVENTFD = { DATAMATCH: 1, DEASSIGN: 4, VALID: 0x1f } as const;
const PIC_PINS = 8;
const IOAPIC_PINS = 24;

const inKernel = ({ kernel }: VmObject): boolean => kernel.irqchip !== 'none';

/**
 * kvm_set_msi(): an interrupt for the local APICs that its address means. The model's guests are not interrupted; a halted
 * vCPU wakes up. @returns how many took it, -1 if nobody was meant.
 */
function sendMsi(vm: Vm, { address_lo, address_hi, data }: Msi): number {
  const destination = ((address_lo >>> 12) & 0xff) | (address_hi & ~0xff);
  let taken = -1;
  for (const vcpu of vm.vcpus.values()) {
    if (destination !== 0xff && vcpu.id !== destination) continue;
    const accepted = vcpu.td?.run.apic.accept(data & 0x700, data & 0xff) ?? false;
    taken = Math.max(taken, 0) + (accepted ? 1 : 0);
  }
  return taken;
}

/** kvm_send_userspace_msi(). */
function signalMsi(vm: VmObject, call: Call): number {
  return vm.kernel.request('KVM_SIGNAL_MSI', () => {
    const msi = call.read(kvmMsi);
    demand(inKernel(vm) && (msi.flags & ~1) === 0, 'kvm.msi');
    const taken = sendMsi(vm.kernel, msi);
    demand(taken >= 0, 'kvm.msi.nobody');
    return taken;
  });
}

function irqLine(vm: VmObject, call: Call, name: string, withStatus: boolean): number {
  return vm.kernel.request(name, () => {
    const { irq, level } = call.read(kvmIrqLevel);
    demand(inKernel(vm), 'kvm.irqchip.needed');
    const routes = vm.plain.routes.filter(({ gsi, type }) => gsi === irq && type === ROUTING.MSI);
    const results = level === 0 ? [] : routes.map((route) => sendMsi(vm.kernel, route));
    if (withStatus) call.write(kvmIrqLevel, { irq: Math.max(-1, ...results) >>> 0, level });
    return 0;
  });
}

/** kvm_set_irq_routing(), setup_routing_entry() and kvm_set_routing_entry(). */
function setRouting(vm: VmObject, { nr, flags }: Decoded<(typeof kvmIrqRouting)['fields']>, call: Call): void {
  demand(inKernel(vm) && nr <= KVM_MAX_IRQ_ROUTES && flags === 0, 'kvm.routing');
  const bytes = call.user.read(call.arg + BigInt(kvmIrqRouting.size), nr * kvmIrqRoutingEntry.size);
  const entries: RoutingEntry[] = decodeArray(kvmIrqRoutingEntry, bytes);
  demand(
    entries.every(({ gsi }) => gsi < KVM_MAX_IRQ_ROUTES),
    'kvm.routing',
  );
  for (const [i, entry] of entries.entries()) {
    demand((entry.flags & ~(entry.type === ROUTING.MSI ? 1 : 0)) === 0, 'kvm.routing');
    const others = entries.slice(0, i).filter(({ gsi }) => gsi === entry.gsi);
    demand(
      others.every((other) => mayShare(other, entry)),
      'kvm.routing',
    );
    demand(isRoutable(vm, entry), 'kvm.routing');
  }
  vm.plain.routes = entries;
}

/** One GSI leads to several pins of different chips, or to one MSI. */
const mayShare = (a: RoutingEntry, b: RoutingEntry): boolean =>
  a.type === ROUTING.IRQCHIP && b.type === ROUTING.IRQCHIP && a.irqchip !== b.irqchip;

function isRoutable({ kernel }: VmObject, { type, irqchip, pin }: RoutingEntry): boolean {
  if (type === ROUTING.MSI || type === ROUTING.HV_SINT) return true;
  if (type !== ROUTING.IRQCHIP || kernel.irqchip === 'split') return false;
  return irqchip < 2 ? pin < PIC_PINS : irqchip === 2 && pin < IOAPIC_PINS;
}

/** eventfd_ctx_fdget(). */
function eventfd(call: Call, fd: number): string {
  const id = call.eventfd(fd);
  if (id === undefined) throw new Refusal('kvm.eventfd.open');
  if (id === 'foreign') throw new Refusal('kvm.eventfd.kind');
  return id;
}

/** kvm_irqfd(). Whoever writes to the eventfd is not heard: the model has no way to it. */
function irqfd(vm: VmObject, { fd, gsi, flags, resamplefd }: Decoded<(typeof kvmIrqfd)['fields']>, call: Call): void {
  demand((flags & ~(IRQFD.DEASSIGN | IRQFD.RESAMPLE)) === 0, 'kvm.irqfd.arguments');
  const { irqfds } = vm.plain;
  if ((flags & IRQFD.DEASSIGN) !== 0) {
    const id = eventfd(call, fd);
    if (irqfds.get(id) === gsi) irqfds.delete(id);
    return;
  }
  const resample = (flags & IRQFD.RESAMPLE) !== 0;
  demand(resample ? vm.kernel.irqchip === 'kernel' : inKernel(vm), 'kvm.irqfd.arguments');
  const id = eventfd(call, fd);
  if (resample) eventfd(call, resamplefd);
  demand(!irqfds.has(id), 'kvm.irqfd.once');
  irqfds.set(id, gsi);
}

/** kvm_ioeventfd(). Writes of the guest come to user space all the same. */
function ioeventfd(vm: VmObject, args: Decoded<(typeof kvmIoeventfd)['fields']>, call: Call): void {
  const { addr, len, fd, flags, datamatch } = args;
  const matches = (flags & IOEVENTFD.DATAMATCH) !== 0;
  const { ioeventfds } = vm.plain;
  const key = () =>
    [(flags & 2) !== 0, addr, len, matches ? datamatch : 'any', eventfd(call, fd)].map(String).join('/');
  if ((flags & IOEVENTFD.DEASSIGN) !== 0) {
    demand(ioeventfds.delete(key()), 'kvm.ioeventfd.none');
    return;
  }
  const valid =
    [0, 1, 2, 4, 8].includes(len) &&
    addr + BigInt(len) < 1n << 64n &&
    (flags & ~IOEVENTFD.VALID) === 0 &&
    (len !== 0 || !matches);
  demand(valid, 'kvm.ioeventfd.arguments');
  const name = key();
  const place = name.slice(0, name.lastIndexOf('/'));
  demand(![...ioeventfds].some((other) => other.startsWith(`${place}/`)), 'kvm.ioeventfd.once');
  ioeventfds.add(name);
}

/** KVM_GET_* and KVM_SET_* of a chip that only an in-kernel interrupt controller has: the bytes that were set. */
const kept = <F extends Fields>(
  name: string,
  number: number,
  struct: Struct<F>,
  what: 'pit' | 'irqchip',
  writes: boolean,
): Request<VmObject> => ({
  name,
  number,
  struct,
  answer: (vm, call) =>
    vm.kernel.request(name, () => {
      // KVM_GET_PIT2 alone writes without having read.
      const given = name === 'KVM_GET_PIT2' ? undefined : call.user.read(call.arg, struct.size);
      demand(what === 'pit' ? vm.plain.pit : vm.kernel.irqchip === 'kernel', 'kvm.irqchip.needed');
      const key = what === 'pit' ? 'pit' : `irqchip ${given?.[0]}`;
      if (what === 'irqchip') demand((given?.[0] ?? 0) <= 2, 'kvm.irqchip.id');
      if (!writes) vm.plain.chips.set(key, given!);
      else
        call.user.write(
          call.arg,
          (vm.plain.chips.get(key) ?? given ?? new Uint8Array(struct.size)).slice(0, struct.size),
        );
      return 0;
    }),
});

function createPit({ kernel, plain }: VmObject): void {
  demand(!plain.pit, 'kvm.pit.once');
  demand(kernel.irqchip === 'kernel', 'kvm.pit.irqchip');
  plain.pit = true;
}

/** Interrupt controllers and their wires (x86.c, irqchip.c, irq_comm.c, eventfd.c). A TD has a split one: no PIC, no PIT. */
export const vmInterruptRequests: readonly Request<VmObject>[] = [
  {
    name: 'KVM_IRQ_LINE',
    number: iow(0x61, kvmIrqLevel),
    struct: kvmIrqLevel,
    answer: (vm, call) => irqLine(vm, call, 'KVM_IRQ_LINE', false),
  },
  {
    name: 'KVM_IRQ_LINE_STATUS',
    number: iowr(0x67, kvmIrqLevel),
    struct: kvmIrqLevel,
    answer: (vm, call) => irqLine(vm, call, 'KVM_IRQ_LINE_STATUS', true),
  },
  { name: 'KVM_SIGNAL_MSI', number: iow(0xa5, kvmMsi), struct: kvmMsi, answer: signalMsi },
  withStruct('KVM_SET_GSI_ROUTING', iow(0x6a, kvmIrqRouting), kvmIrqRouting, setRouting),
  withStruct('KVM_IRQFD', iow(0x76, kvmIrqfd), kvmIrqfd, irqfd),
  withStruct('KVM_IOEVENTFD', iow(0x79, kvmIoeventfd), kvmIoeventfd, ioeventfd),
  kept('KVM_GET_IRQCHIP', iowr(0x62, kvmIrqchip), kvmIrqchip, 'irqchip', true),
  kept('KVM_SET_IRQCHIP', ior(0x63, kvmIrqchip), kvmIrqchip, 'irqchip', false),
  withNumber('KVM_CREATE_PIT', io(0x64), createPit),
  withStruct('KVM_CREATE_PIT2', iow(0x77, kvmPitConfig), kvmPitConfig, createPit),
  kept('KVM_GET_PIT', iowr(0x65, kvmPitState), kvmPitState, 'pit', true),
  kept('KVM_SET_PIT', ior(0x66, kvmPitState), kvmPitState, 'pit', false),
  kept('KVM_GET_PIT2', ior(0x9f, kvmPitState2), kvmPitState2, 'pit', true),
  kept('KVM_SET_PIT2', iow(0xa0, kvmPitState2), kvmPitState2, 'pit', false),
  {
    name: 'KVM_REINJECT_CONTROL',
    number: io(0x71),
    struct: kvmReinjectControl,
    answer: (vm, call) =>
      vm.kernel.request('KVM_REINJECT_CONTROL', () => {
        call.read(kvmReinjectControl);
        demand(vm.plain.pit, 'kvm.irqchip.needed');
        return 0;
      }),
  },
];
