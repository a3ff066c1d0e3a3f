import { integer, u32, u64 } from '../../../kvm/check.js';
import { initVmParams } from '../../../kvm/check-init-vm.js';
import { type CheckedSlot, enableCapArguments, memorySlot } from '../../../kvm/check-memory.js';
import { msrBitmapBytes, type PackedMsrFilter, packMsrFilter } from '../../../kvm/check-msr-filter.js';
import { KVM_TDX } from '../../../kvm/constants.js';
import { KvmError, KvmStateError } from '../../../kvm/errors.js';
import type { GuestMemfd } from '../../../kvm/memory.js';
import type { KvmVcpu } from '../../../kvm/vcpu.js';
import type {
  KvmVm,
  MemoryRegion,
  MemoryRegion2,
  MsrFilter,
  TdxCapabilities,
  TdxInitVm,
  TdxVmOps,
} from '../../../kvm/vm.js';
import type { UserMemoryRegion } from '../memslots.js';
import type { MsrFilterArgument } from '../msr-filter.js';
import { type TdxCmdData, tdxCmdData, userValue } from '../user.js';
import type { Vm } from '../vm.js';
import { demandOpen, issue } from './issue.js';
import { MockGuestMemfd, MockGuestMemory, type MockProcess } from './memory.js';
import { MockVcpu } from './vcpu.js';

/** A VM of a modelled host: JavaScript's arguments in, requests of the kernel storey out. */
export class MockVm implements KvmVm {
  readonly type: number;
  readonly tdx: TdxVmOps;
  readonly #vcpus = new Set<MockVcpu>();
  readonly #memfds = new Set<MockGuestMemfd>();
  readonly #ids = new Set<number>();
  #closed = false;

  constructor(
    /** For the model only. */
    readonly kernel: Vm,
    private readonly process: MockProcess,
    private readonly onClose: () => void,
  ) {
    this.type = kernel.type;
    this.tdx = new MockTdxVm(kernel, () => this.#demandOpen());
  }

  get closed(): boolean {
    return this.#closed;
  }

  #demandOpen(): void {
    demandOpen('VM', this.#closed);
  }

  #issue<T>(request: string, body: () => T): T {
    this.#demandOpen();
    return issue(request, body);
  }

  checkExtension(capability: number): number {
    u32('capability', capability);
    return this.#issue('KVM_CHECK_EXTENSION', () => this.kernel.checkExtension(capability));
  }

  enableCap(capability: number, args: readonly bigint[] = [], flags: number = 0): void {
    const cap = enableCapArguments(capability, args, flags);
    this.#issue('KVM_ENABLE_CAP', () => this.kernel.enableCap(() => cap));
  }

  createVcpu(id: number): KvmVcpu {
    u32('id', id);
    this.#demandOpen();
    if (this.#ids.has(id))
      throw new KvmStateError(
        'ERR_KVM_DUPLICATE_VCPU',
        `vcpu_id ${id} is in use: a repeated one corrupts a TDX kernel`,
      );
    const vcpu = new MockVcpu(
      this.#issue('KVM_CREATE_VCPU', () => this.kernel.createVcpu(BigInt(id))),
      this.process,
    );
    this.#ids.add(id);
    this.#vcpus.add(vcpu);
    return vcpu;
  }

  setTscKhz(khz: number): void {
    u32('khz', khz);
    this.#issue('KVM_SET_TSC_KHZ', () => this.kernel.setTscKhz(BigInt(khz)));
  }

  getTscKhz(): number {
    return this.#issue('KVM_GET_TSC_KHZ', () => this.kernel.getTscKhz());
  }

  setUserMemoryRegion(region: MemoryRegion): void {
    const slot = this.#slot(memorySlot(region, MockGuestMemory));
    this.#issue('KVM_SET_USER_MEMORY_REGION', () => this.kernel.setUserMemoryRegion(() => slot));
  }

  setUserMemoryRegion2(region: MemoryRegion2): void {
    const slot = this.#slot(memorySlot(region, MockGuestMemory, MockGuestMemfd));
    this.#issue('KVM_SET_USER_MEMORY_REGION2', () => this.kernel.setUserMemoryRegion2(() => slot));
  }

  #slot(region: CheckedSlot<MockGuestMemory, MockGuestMemfd>): UserMemoryRegion {
    this.#demandOpen();
    const guestMemfd = region.guestMemfd ? this.#memfd(region.guestMemfd) : undefined;
    // A slot that goes names no memory.
    const memory = region.size === 0 ? null : region.memory;
    return {
      slot: region.slot,
      flags: region.flags,
      guestPhysAddr: region.gpa,
      memorySize: BigInt(region.size),
      userspaceAddr: memory ? this.process.addressOf(memory, 'region.memory') + BigInt(region.memoryOffset) : 0n,
      guestMemfdOffset: BigInt(region.guestMemfdOffset),
      guestMemfd,
    };
  }

  #memfd(memfd: MockGuestMemfd) {
    if (memfd.kernel.vm !== this.kernel)
      throw new KvmStateError('ERR_KVM_FOREIGN_OBJECT', 'region.guestMemfd belongs to another VM');
    demandOpen('guest_memfd', memfd.closed);
    return memfd.kernel;
  }

  createGuestMemfd(size: number, flags: bigint = 0n): GuestMemfd {
    integer('size', size);
    u64('flags', flags);
    const kernel = this.#issue('KVM_CREATE_GUEST_MEMFD', () =>
      this.kernel.createGuestMemfd(() => ({ size: BigInt(size), flags })),
    );
    const memfd = new MockGuestMemfd(size, kernel);
    this.#memfds.add(memfd);
    return memfd;
  }

  setMemoryAttributes(gpa: bigint, size: bigint, attributes: bigint): void {
    const args = {
      address: u64('gpa', gpa),
      size: u64('size', size),
      attributes: u64('attributes', attributes),
      flags: 0n,
    };
    this.#issue('KVM_SET_MEMORY_ATTRIBUTES', () => this.kernel.setMemoryAttributes(() => args));
  }

  setTssAddr(gpa: number): void {
    integer('gpa', gpa);
    this.#issue('KVM_SET_TSS_ADDR', () => this.kernel.setTssAddr(BigInt(gpa)));
  }

  setIdentityMapAddr(gpa: bigint): void {
    u64('gpa', gpa);
    this.#issue('KVM_SET_IDENTITY_MAP_ADDR', () => this.kernel.setIdentityMapAddr(() => gpa));
  }

  setMsrFilter(filter: MsrFilter): void {
    const argument = filterArgument(packMsrFilter(filter));
    this.#issue('KVM_X86_SET_MSR_FILTER', () => this.kernel.setMsrFilter(() => argument));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const vcpu of this.#vcpus) vcpu.close();
    for (const memfd of this.#memfds) memfd.close();
    this.kernel.release();
    this.onClose();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

class MockTdxVm implements TdxVmOps {
  constructor(
    private readonly vm: Vm,
    private readonly demandOpen: () => void,
  ) {}

  #command(request: keyof typeof KVM_TDX, data: Partial<TdxCmdData>): void {
    this.demandOpen();
    let hwError = 0n;
    const body = () => {
      const cmd = userValue({ id: KVM_TDX[request], flags: 0, data: 0n, hwError: 0n });
      try {
        this.vm.memoryEncryptOp(cmd, tdxCmdData(data));
      } finally {
        hwError = cmd.value.hwError;
      }
    };
    issue(`KVM_TDX_${request}`, body, () => ({ hwError }));
  }

  capabilities(): TdxCapabilities {
    let found: TdxCapabilities | undefined;
    this.#command('CAPABILITIES', {
      capabilities: () => ({
        readNent: () => 0xffff_ffff,
        writeHeader: (caps) => {
          found = { ...caps, cpuid: [] };
        },
        writeEntries: (entries) => {
          found!.cpuid = entries.map((entry) => ({ ...entry }));
        },
      }),
    });
    return found!;
  }

  initVm(params: TdxInitVm): void {
    const { cpuid, ...registers } = initVmParams(params);
    const header = { ...registers, nent: cpuid.length };
    this.#command('INIT_VM', { initVm: () => ({ readHeader: () => header, readEntries: () => cpuid }) });
  }

  finalizeVm(): void {
    this.#command('FINALIZE_VM', {});
  }

  terminateVm(): boolean {
    try {
      this.#command('TERMINATE_VM', {});
      return true;
    } catch (error) {
      if (error instanceof KvmError && error.code === 'EINVAL') return false;
      throw error;
    }
  }
}

/** The packed numbers and bitmaps, range by range. */
function filterArgument({ flags, ranges, bitmaps }: PackedMsrFilter): MsrFilterArgument {
  const unpacked = [];
  for (let i = 0, at = 0; i < ranges.length; i += 3) {
    const [about, base, nmsrs] = ranges.subarray(i, i + 3) as unknown as [number, number, number];
    const end = at + msrBitmapBytes(nmsrs);
    unpacked.push({ flags: about, base, nmsrs, bitmap: bitmaps.slice(at, end) });
    at = end;
  }
  return { flags, ranges: unpacked };
}
