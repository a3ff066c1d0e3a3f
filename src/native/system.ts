import { release } from 'node:os';
import { memorySize } from '../kvm/check-memory.js';
import { KVM_CAP, KVM_X86_TDX_VM } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import type { GuestMemory } from '../kvm/memory.js';
import type { KvmSystem } from '../kvm/system.js';
import type { KvmVm } from '../kvm/vm.js';
import type { Addon, SystemHandle } from './addon.js';
import { NativeGuestMemory } from './memory.js';
import { unpackCpuid } from './pack.js';
import { NativeVm } from './vm.js';

export class NativeSystem implements KvmSystem {
  readonly backend = 'native';
  readonly description: string;
  readonly #addon: Addon;
  readonly #handle: SystemHandle;
  readonly #serial: number;

  constructor(addon: Addon, handle: SystemHandle, path: string) {
    this.#addon = addon;
    this.#handle = handle;
    this.#serial = handle.serial();
    const types = this.checkExtension(KVM_CAP.VM_TYPES);
    const tdx = (types & (1 << KVM_X86_TDX_VM)) !== 0 ? 'with' : 'without';
    this.description = `KVM of Linux ${release()} at ${path}, ${tdx} TDX`;
  }

  get closed(): boolean {
    return this.#handle.isClosed();
  }

  getApiVersion(): number {
    return this.#handle.getApiVersion();
  }

  checkExtension(capability: number): number {
    return this.#addon.systemCheckExtension(this.#serial, capability);
  }

  createVm(type: number): KvmVm {
    return new NativeVm(this.#addon, this.#handle.createVm(type), type, this);
  }

  getVcpuMmapSize(): number {
    return this.#handle.getVcpuMmapSize();
  }

  getSupportedCpuid(): CpuidEntry[] {
    return unpackCpuid(this.#handle.getSupportedCpuid());
  }

  createMemory(size: number): GuestMemory {
    return new NativeGuestMemory(this.#handle.createMemory(memorySize(size)), size, this);
  }

  close(): void {
    this.#handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
