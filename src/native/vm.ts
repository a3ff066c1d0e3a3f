import type { GuestMemfd } from '../kvm/memory.js';
import type { KvmVcpu } from '../kvm/vcpu.js';
import type { KvmVm, MemoryRegion, MemoryRegion2, TdxCapabilities, TdxInitVm, TdxVmOps } from '../kvm/vm.js';
import type { Addon, VmHandle } from './addon.js';
import { array, bigint, bytes, integer, record } from './check.js';
import { memoryHandle, NativeGuestMemfd, NativeGuestMemory } from './memory.js';
import { packCpuid, unpackCpuid } from './pack.js';
import { NativeVcpu } from './vcpu.js';

const measurementFields = ['mrConfigId', 'mrOwner', 'mrOwnerConfig'] as const;

class NativeTdxVm implements TdxVmOps {
  readonly #handle: VmHandle;

  constructor(handle: VmHandle) {
    this.#handle = handle;
  }

  capabilities(): TdxCapabilities {
    const { fixed, cpuid } = this.#handle.tdxCapabilities();
    const [supportedAttrs, supportedXfam, kernelR11, userR11, kernelR12, userR12] = fixed as unknown as bigint[];
    return {
      supportedAttrs: supportedAttrs!,
      supportedXfam: supportedXfam!,
      kernelTdvmcallinfo1R11: kernelR11!,
      userTdvmcallinfo1R11: userR11!,
      kernelTdvmcallinfo1R12: kernelR12!,
      userTdvmcallinfo1R12: userR12!,
      cpuid: unpackCpuid(cpuid),
    };
  }

  initVm(params: TdxInitVm): void {
    const values = record('params', params);
    const measurement = new Uint8Array(measurementFields.length * 48);
    measurementFields.forEach((field, i) => {
      if (values[field] !== undefined) measurement.set(bytes(`params.${field}`, values[field], 48), i * 48);
    });
    this.#handle.tdxInitVm(
      bigint('params.attributes', params.attributes),
      bigint('params.xfam', params.xfam),
      measurement,
      packCpuid('params.cpuid', params.cpuid),
    );
  }

  finalizeVm(): void {
    this.#handle.tdxFinalizeVm();
  }

  terminateVm(): boolean {
    return this.#handle.tdxTerminateVm();
  }
}

export class NativeVm implements KvmVm {
  readonly type: number;
  readonly tdx: TdxVmOps;
  readonly #addon: Addon;
  readonly #handle: VmHandle;
  readonly #serial: number;
  /** Held, because a collected system closes its VMs. */
  readonly parent: object;
  /** Held until the VM closes: a vCPU and a guest_memfd are parts of it, whether or not the caller keeps them. */
  readonly #parts: object[] = [];

  constructor(addon: Addon, handle: VmHandle, type: number, parent: object) {
    this.#addon = addon;
    this.#handle = handle;
    this.#serial = handle.serial();
    this.type = type;
    this.parent = parent;
    this.tdx = new NativeTdxVm(handle);
  }

  get closed(): boolean {
    return this.#handle.isClosed();
  }

  checkExtension(capability: number): number {
    return this.#addon.vmCheckExtension(this.#serial, capability);
  }

  enableCap(capability: number, args: readonly bigint[] = [], flags: number = 0): void {
    const numbers = new BigUint64Array(4);
    array('args', args).forEach((value, i) => {
      if (i >= numbers.length) throw new RangeError(`args must have at most 4 elements, got ${args.length}`);
      numbers[i] = bigint(`args[${i}]`, value);
    });
    this.#handle.enableCap(capability, flags, numbers);
  }

  createVcpu(id: number): KvmVcpu {
    const vcpu = new NativeVcpu(this.#handle.createVcpu(id), id, this);
    this.#parts.push(vcpu);
    return vcpu;
  }

  setTscKhz(khz: number): void {
    this.#handle.setTscKhz(khz);
  }

  getTscKhz(): number {
    return this.#handle.getTscKhz();
  }

  setUserMemoryRegion(region: MemoryRegion): void {
    record('region', region);
    this.#handle.setUserMemoryRegion(...slot(region));
  }

  setUserMemoryRegion2(region: MemoryRegion2): void {
    record('region', region);
    const { guestMemfd, guestMemfdOffset = 0 } = region;
    this.#handle.setUserMemoryRegion2(
      ...slot(region),
      guestMemfd == null ? null : memoryHandle('region.guestMemfd', guestMemfd, NativeGuestMemfd),
      integer('region.guestMemfdOffset', guestMemfdOffset),
    );
  }

  createGuestMemfd(size: number, flags: bigint = 0n): GuestMemfd {
    const memfd = new NativeGuestMemfd(this.#handle.createGuestMemfd(size, flags), size, this);
    this.#parts.push(memfd);
    return memfd;
  }

  setMemoryAttributes(gpa: bigint, size: bigint, attributes: bigint): void {
    this.#handle.setMemoryAttributes(gpa, size, attributes);
  }

  setTssAddr(gpa: number): void {
    this.#handle.setTssAddr(gpa);
  }

  setIdentityMapAddr(gpa: bigint): void {
    this.#handle.setIdentityMapAddr(gpa);
  }

  close(): void {
    this.#handle.close();
    this.#parts.length = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

const slot = (region: MemoryRegion) =>
  [
    integer('region.slot', region.slot, 0xffff_ffff),
    integer('region.flags', region.flags ?? 0, 0xffff_ffff),
    bigint('region.gpa', region.gpa),
    integer('region.size', region.size),
    region.memory == null ? null : memoryHandle('region.memory', region.memory, NativeGuestMemory),
    integer('region.memoryOffset', region.memoryOffset ?? 0),
  ] as const;
