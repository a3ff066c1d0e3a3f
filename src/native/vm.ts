import { initVmParams } from '../kvm/check-init-vm.js';
import { enableCapArguments, memorySlot } from '../kvm/check-memory.js';
import { packMsrFilter } from '../kvm/check-msr-filter.js';
import type { GuestMemfd } from '../kvm/memory.js';
import type { KvmVcpu } from '../kvm/vcpu.js';
import type { KvmVm, MemoryRegion, MemoryRegion2, MsrFilter, TdxCapabilities, TdxInitVm, TdxVmOps } from '../kvm/vm.js';
import type { Addon, VmHandle } from './addon.js';
import { NativeGuestMemfd, NativeGuestMemory } from './memory.js';
import { packCpuid, unpackCpuid } from './pack.js';
import { NativeVcpu } from './vcpu.js';

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
    const { attributes, xfam, mrConfigId, mrOwner, mrOwnerConfig, cpuid } = initVmParams(params);
    const measurement = Uint8Array.from([...mrConfigId, ...mrOwner, ...mrOwnerConfig]);
    this.#handle.tdxInitVm(attributes, xfam, measurement, packCpuid(cpuid));
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
    const checked = enableCapArguments(capability, args, flags);
    const numbers = new BigUint64Array(4);
    numbers.set(checked.args);
    this.#handle.enableCap(checked.cap, checked.flags, numbers);
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
    const { slot, flags, gpa, size, memory, memoryOffset } = memorySlot(region, NativeGuestMemory);
    this.#handle.setUserMemoryRegion(slot, flags, gpa, size, memory?.handle ?? null, memoryOffset);
  }

  setUserMemoryRegion2(region: MemoryRegion2): void {
    const checked = memorySlot(region, NativeGuestMemory, NativeGuestMemfd);
    this.#handle.setUserMemoryRegion2(
      checked.slot,
      checked.flags,
      checked.gpa,
      checked.size,
      checked.memory?.handle ?? null,
      checked.memoryOffset,
      checked.guestMemfd?.handle ?? null,
      checked.guestMemfdOffset,
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

  setMsrFilter(filter: MsrFilter): void {
    const { flags, ranges, bitmaps } = packMsrFilter(filter);
    this.#handle.setMsrFilter(flags, ranges, bitmaps);
  }

  close(): void {
    this.#handle.close();
    this.#parts.length = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
