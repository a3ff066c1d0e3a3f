import { KVM_CAP } from '../../../kvm/constants.js';
import type { KvmSystem, KvmVm } from '../../../kvm/index.js';
import type { EngineTd, GuestSpace } from '../engine.js';
import { Observer, SoftwareMemory } from './code.js';
import { cpuidTable } from './cpuid-table.js';
import { CodePages } from './deprivileged/code-pages.js';
import { Region, regionAt } from './deprivileged/region.js';
import { Discovery } from './discovery.js';
import { canFilterMsrs, filterMsrs } from './msrs.js';
import { type Patched, Patches } from './patches.js';
import { PrivateMemory } from './private-memory.js';
import type { Abilities } from './probe.js';
import { Slots } from './slots.js';
import { KvmEngineVcpu } from './vcpu.js';

// For processors that emulate real mode in a guest's page; where QEMU has them, above every image and below the APIC.
const IDENTITY_MAP = 0xfeff_c000n;
const TSS = 0xfeff_d000;

const KVM_CAP_DISABLE_QUIRKS2 = 213;
/** Patching a guest's VMCALL into the instruction of the host's vendor. */
const KVM_X86_QUIRK_FIX_HYPERCALL_INSN = 1 << 5;

/** What plain KVM does by itself, and a TD's module does not let it. */
const PATCHED: readonly Patched[] = ['cpuid', 'wbinvd', 'invd', 'rdpmc', 'xsetbv', 'monitor', 'mwait', 'vmcall'];

export interface KvmTdOptions {
  /** Run code of CPL 0 at CPL 3; default false. */
  deprivileges?: boolean;
  /** Called when it is closed. */
  onClose?: () => void;
}

/** A TD's guest in a plain VM. */
export class KvmTd implements EngineTd {
  readonly memory: PrivateMemory;
  readonly software: SoftwareMemory;
  readonly observer: Observer;
  readonly patches: Patches;
  readonly discovery: Discovery;
  readonly #vm: KvmVm;
  readonly #slots: Slots;
  readonly #regions: Region[] = [];
  /** What of its private memory is code, for deprivileged vCPUs. */
  readonly code: CodePages = new CodePages();
  /** Code of CPL 0 runs at CPL 3. */
  readonly deprivileges: boolean;
  readonly #onClose: () => void;
  #running = 0;
  #emulated = 0;

  constructor(
    private readonly system: KvmSystem,
    private readonly space: GuestSpace,
    readonly abilities: Abilities,
    patchTdcall: boolean,
    { deprivileges = false, onClose = () => {} }: KvmTdOptions = {},
  ) {
    this.deprivileges = deprivileges;
    this.#onClose = onClose;
    const bit = Math.log2(space.sharedBit);
    if (!abilities.sharedBits.includes(bit)) {
      const others = abilities.sharedBits.join(', ');
      throw new Error(
        `engine kvm: page tables of this host's plain VMs cannot hold bit ${bit}, the SHARED bit of this TD (they can: ` +
          `${others}); run it with the interpreter, or with the other guest physical address width`,
      );
    }
    const vm = system.createVm(0);
    this.#vm = vm;
    try {
      vm.setIdentityMapAddr(IDENTITY_MAP);
      vm.setTssAddr(TSS);
      if ((vm.checkExtension(KVM_CAP_DISABLE_QUIRKS2) & KVM_X86_QUIRK_FIX_HYPERCALL_INSN) !== 0) {
        vm.enableCap(KVM_CAP_DISABLE_QUIRKS2, [BigInt(KVM_X86_QUIRK_FIX_HYPERCALL_INSN)]);
      }
      const msrs = canFilterMsrs(vm);
      if (msrs) filterMsrs(vm);
      const patches = new Patches(
        new Set([
          ...PATCHED,
          ...(patchTdcall ? (['tdcall'] as const) : []),
          ...(msrs ? [] : (['rdmsr', 'wrmsr'] as const)),
        ]),
        deprivileges,
      );
      this.#slots = new Slots(system, vm);
      this.patches = patches;
      this.memory = new PrivateMemory(this.#slots, space, patches);
      this.software = new SoftwareMemory(this.memory, space);
      this.observer = new Observer(this.software);
      this.discovery = new Discovery(this.observer, this.software, patches, (gpa, bytes) => {
        // Not under an emulator: it is put there afterwards.
        if (this.#emulated === 0 || !patches.isForDeprivileged(gpa)) this.memory.write(gpa, bytes);
      });
    } catch (error) {
      vm.close();
      throw error;
    }
  }

  createVcpu(index: number, gprs: BigUint64Array): KvmEngineVcpu {
    return new KvmEngineVcpu(this, this.#vm.createVcpu(index), gprs);
  }

  /** Memory of the engine's own in this VM, for one vCPU. */
  newRegion(index: number): Region {
    const slot = this.#vm.checkExtension(KVM_CAP.NR_MEMSLOTS) - 1 - index;
    const region = new Region(this.system, this.#vm, regionAt(this.space.sharedBit, index), slot);
    this.#regions.push(region);
    return region;
  }

  cpuidOf(vcpu: KvmEngineVcpu) {
    const ask = (leaf: number, subleaf: number) => this.space.cpuid(vcpu, leaf, subleaf);
    return cpuidTable(ask, this.system.getSupportedCpuid(), Math.log2(this.space.sharedBit) + 1);
  }

  /** Memory that the guest has before it runs. */
  prepareMemory(): void {
    this.memory.prepare(this.#running === 0);
  }

  /** A vCPU enters KVM. @param emulated in a mode in which KVM emulates the guest's code. */
  enter(emulated: boolean): void {
    this.prepareMemory();
    this.#running++;
    if (emulated && this.#emulated++ === 0) this.#exchange('patched', 'original');
  }

  leave(emulated: boolean): void {
    this.#running--;
    if (emulated && --this.#emulated === 0) this.#exchange('original', 'patched');
  }

  /** The guest is about to write to the page at `gpa`, which was code: it has its own bytes again. */
  unpatch(gpa: number): void {
    for (const { gpa: at, form } of this.patches.inPage(gpa)) {
      const bytes = this.memory.readRaw(at, form.patched.length);
      if (form.patched.every((byte, i) => bytes[i] === byte)) this.memory.write(at, Uint8Array.from(form.original));
    }
    this.patches.forget(gpa, gpa + 1);
  }

  /** Instructions replaced for deprivileged code are none to an emulator: it gets the original ones meanwhile. */
  #exchange(from: 'original' | 'patched', to: 'original' | 'patched'): void {
    for (const { gpa, form } of this.patches.forDeprivileged()) {
      const bytes = this.memory.readRaw(gpa, form[from].length);
      if (form[from].every((byte, i) => bytes[i] === byte)) this.memory.write(gpa, Uint8Array.from(form[to]));
    }
  }

  readPrivate(gpa: number, length: number): Uint8Array {
    return this.memory.read(gpa, length);
  }

  writePrivate(gpa: number, bytes: Uint8Array): void {
    this.memory.write(gpa, bytes);
  }

  pagesMapped(gpa: number, size: number): void {
    this.memory.map(gpa, size);
    this.code.forget(gpa, gpa + size);
  }

  pagesUnmapped(gpa: number, size: number): void {
    this.memory.unmap(gpa, size, this.#running === 0);
    this.code.forget(gpa, gpa + size);
    this.code.generation++;
  }

  close(): void {
    this.#vm.close();
    this.#slots.close();
    for (const region of this.#regions) region.close();
    this.#regions.length = 0;
    this.#onClose();
  }
}
