import { demand, Refusal } from '../../mock/kernel/refusal.js';
import { ioctlType, KVMIO } from '../layout/ioctl.js';
import type { SystemObject, VcpuObject, VmObject, WireObject } from '../objects.js';
import { isNotModelled, type ObjectKind } from './names.js';
import { type Call, type Request, type Result, tableOf } from './request.js';
import { vcpuStatsRequest, vmStatsRequest } from './stats.js';
import { systemRequests } from './system.js';
import { plainSystemRequests } from './system-plain.js';
import { vcpuRequests } from './vcpu.js';
import { plainVcpuRequests } from './vcpu-plain.js';
import { vcpuStateRequests } from './vcpu-state.js';
import { vmRequests } from './vm.js';
import { vmInterruptRequests } from './vm-interrupts.js';
import { plainVmRequests } from './vm-plain.js';

const systemTable = tableOf<SystemObject>([...systemRequests, ...plainSystemRequests]);
const vmTable = tableOf<VmObject>([...vmRequests, ...plainVmRequests, ...vmInterruptRequests, vmStatsRequest]);
const vcpuTable = tableOf<VcpuObject>([...vcpuRequests, ...plainVcpuRequests, ...vcpuStateRequests, vcpuStatsRequest]);

/** Every request of the model, of all kinds of objects. */
export const allRequests = (): readonly Pick<Request<never>, 'name' | 'number' | 'struct'>[] => [
  ...systemTable.values(),
  ...vmTable.values(),
  ...vcpuTable.values(),
];

/** The request that a number is on an object; undefined where it is none that the model has. */
export function requestOf<O extends WireObject>(object: O, number: number): Request<O> | undefined {
  switch (object.kind) {
    case 'system':
      return systemTable.get(number) as Request<O> | undefined;
    case 'vm':
      return vmTable.get(number) as Request<O> | undefined;
    case 'vcpu':
      return vcpuTable.get(number) as Request<O> | undefined;
    default:
      return undefined;
  }
}

/** ioctl() on an object. @throws Refusal. */
export function ioctl(object: WireObject, number: number, call: Call): Result | Promise<Result> {
  switch (object.kind) {
    case 'system':
      return find(systemTable, 'system', number, 'kvm.request.number').answer(object, call);
    case 'vm':
      demand(object.task === call.task, 'kvm.request.process');
      object.kernel.checkAlive();
      return find(vmTable, 'vm', number, 'kvm.request.number-vm').answer(object, call);
    case 'vcpu':
      demand(object.vm.task === call.task, 'kvm.request.process');
      object.kernel.vm.checkAlive();
      demand(ioctlType(number) === KVMIO, 'kvm.request.number');
      return object.exclusive(() => find(vcpuTable, 'vcpu', number, 'kvm.request.number').answer(object, call));
    default:
      throw new Refusal('kvm.request.not-a-device');
  }
}

function find<O>(
  table: ReadonlyMap<number, Request<O>>,
  kind: ObjectKind,
  number: number,
  unknown: 'kvm.request.number' | 'kvm.request.number-vm',
): Request<O> {
  const request = table.get(number);
  if (request) return request;
  throw new Refusal(isNotModelled(kind, number) ? 'kvm.request.not-modelled' : unknown);
}
