import { u32 } from '../../../kvm/check.js';
import { memorySize } from '../../../kvm/check-memory.js';
import type { CpuidEntry } from '../../../kvm/cpuid.js';
import type { GuestMemory } from '../../../kvm/memory.js';
import type { KvmSystem } from '../../../kvm/system.js';
import type { KvmVm } from '../../../kvm/vm.js';
import type { MockHost } from '../host.js';
import { Vm } from '../vm.js';
import { demandOpen, issue } from './issue.js';
import { MockProcess } from './memory.js';
import { MockVm } from './vm.js';

const KVM_API_VERSION = 12;
/** kvm_run, the page of port data and the coalesced MMIO ring. */
const VCPU_MMAP_SIZE = 3 * 4096;

/** `/dev/kvm` of a modelled host. */
export class MockSystem implements KvmSystem {
  readonly backend = 'mock';
  readonly description: string;
  readonly #process = new MockProcess();
  readonly #vms = new Set<MockVm>();
  #closed = false;

  constructor(
    readonly host: MockHost,
    why?: string,
  ) {
    host.systems++;
    const { name, description, kernel } = host.profile;
    const tdx = host.whyNoTdx === undefined ? '' : `; no TDX: ${host.whyNoTdx}`;
    const because = why === undefined ? '' : ` (the model because: ${why})`;
    this.description = `model of a TDX host, profile ${name} (Linux ${kernel.release}): ${description}${tdx}${because}`;
  }

  get closed(): boolean {
    return this.#closed;
  }

  getApiVersion(): number {
    demandOpen('system', this.#closed);
    return issue('KVM_GET_API_VERSION', () => this.host.faults.during('KVM_GET_API_VERSION', () => KVM_API_VERSION));
  }

  checkExtension(capability: number): number {
    u32('capability', capability);
    demandOpen('system', this.#closed);
    return issue('KVM_CHECK_EXTENSION', () => this.host.checkExtension(capability));
  }

  createVm(type: number): KvmVm {
    u32('type', type);
    demandOpen('system', this.#closed);
    const kernel = issue('KVM_CREATE_VM', () =>
      this.host.faults.during('KVM_CREATE_VM', () => new Vm(this.host, this.#process, type)),
    );
    const vm = new MockVm(kernel, this.#process, () => this.#vms.delete(vm));
    this.#vms.add(vm);
    return vm;
  }

  getVcpuMmapSize(): number {
    demandOpen('system', this.#closed);
    return issue('KVM_GET_VCPU_MMAP_SIZE', () =>
      this.host.faults.during('KVM_GET_VCPU_MMAP_SIZE', () => VCPU_MMAP_SIZE),
    );
  }

  getSupportedCpuid(): CpuidEntry[] {
    demandOpen('system', this.#closed);
    return issue('KVM_GET_SUPPORTED_CPUID', () =>
      this.host.faults.during('KVM_GET_SUPPORTED_CPUID', () => this.host.supportedCpuid()),
    );
  }

  createMemory(size: number): GuestMemory {
    memorySize(size);
    demandOpen('system', this.#closed);
    return this.#process.map(size);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const vm of [...this.#vms]) vm.close();
    this.#process.unmapAll();
    this.host.systems--;
    this.host.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
