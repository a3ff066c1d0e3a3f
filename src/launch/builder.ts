import type { CpuidEvaluation } from '../cpuid/questions/evaluation.js';
import type { TdImage } from '../image/index.js';
import {
  KVM_CAP,
  KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
  KVM_X2APIC_API_USE_32BIT_IDS,
  KVM_X86_TDX_VM,
  type KvmSystem,
  type KvmVcpu,
  type KvmVm,
  PAGE_SIZE,
} from '../kvm/index.js';
import { initVmParams, type ResolvedTd, type TdHostFacts, vcpuCpuid } from '../td/index.js';
import { type CpuidDifference, compareCpuid } from './cpuid-differences.js';
import { explainInitVmFailure } from './diagnose.js';
import { applyMaxVcpus, type MaxVcpus } from './max-vcpus.js';
import { addRegion, attachMemory, type MemoryBlock, type TdMemory } from './memory.js';
import { retrying } from './retry.js';
import type { StepRecorder } from './steps.js';

/** Pins of the I/O APIC in user space: what QEMU asks for. */
const SPLIT_IRQCHIP_PINS = 24n;
/** The APIC bus of a TD runs at 25 MHz: the module fixes CPUID(0x15).ECX. */
const APIC_BUS_CYCLE_NS = 40n;
const MAP_GPA_RANGE = 1n << 12n;

/** Issues the requests that make a TD, in the order of the kernel's contract. Owns what it made until it is given away. */
export class TdBuilder {
  readonly owned: Disposable[] = [];
  readonly vm: KvmVm;
  readonly vcpus: KvmVcpu[] = [];
  readonly #system: KvmSystem;
  readonly #steps: StepRecorder;

  constructor(system: KvmSystem, steps: StepRecorder) {
    this.#system = system;
    this.#steps = steps;
    this.vm = steps.run('Create the VM', 'KVM_CREATE_VM', () => system.createVm(KVM_X86_TDX_VM));
    this.owned.push(this.vm);
  }

  /** KVM_CAP_MAX_VCPUS, where it can be set only before KVM_TDX_INIT_VM. */
  limitVcpus(wanted: number | undefined): MaxVcpus {
    return this.#steps.run('Limit the vCPUs', 'KVM_CAP_MAX_VCPUS', () => applyMaxVcpus(this.vm, wanted), {
      describe: ({ limit, reason }) => `at most ${limit}: ${reason}`,
    });
  }

  /** The capabilities a TD needs or its guest expects. */
  enableCapabilities(): void {
    const enable = (name: string, capability: number, value: bigint): void =>
      this.#steps.run(`Enable ${name}`, 'KVM_ENABLE_CAP', () => this.vm.enableCap(capability, [value]), {
        describe: () => `0x${value.toString(16)}`,
      });
    // The split irqchip precedes the vCPUs (tdx.c tdx_vcpu_create) and the APIC bus period (x86.c).
    enable('KVM_CAP_SPLIT_IRQCHIP', KVM_CAP.SPLIT_IRQCHIP, SPLIT_IRQCHIP_PINS);
    enable(
      'KVM_CAP_X2APIC_API',
      KVM_CAP.X2APIC_API,
      KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
    );
    // Without it KVM refuses the guest's MapGPA itself (tdx.c tdx_map_gpa).
    enable('KVM_CAP_EXIT_HYPERCALL', KVM_CAP.EXIT_HYPERCALL, MAP_GPA_RANGE);
    enable('KVM_CAP_X86_APIC_BUS_CYCLES_NS', KVM_CAP.X86_APIC_BUS_CYCLES_NS, APIC_BUS_CYCLE_NS);
  }

  /** TD_PARAMS takes the TSC frequency that the VM has at KVM_TDX_INIT_VM. */
  setTsc(khz: number): void {
    this.#steps.run('Set the TSC frequency', 'KVM_SET_TSC_KHZ', () => this.vm.setTscKhz(khz), {
      describe: () => (khz === 0 ? "the host's" : `${khz} kHz`),
    });
  }

  /** KVM_TDX_INIT_VM; what refuses it is searched with further tries, on VMs of their own. */
  initVm(resolved: ResolvedTd, host: TdHostFacts): void {
    const params = initVmParams(resolved);
    const freshVm = (): KvmVm => {
      const vm = this.#system.createVm(KVM_X86_TDX_VM);
      applyMaxVcpus(vm, resolved.maxVcpus);
      vm.setTscKhz(resolved.tscKhz);
      return vm;
    };
    this.#steps.run(
      'Initialise the TD',
      'KVM_TDX_INIT_VM',
      () => retrying('KVM_TDX_INIT_VM', () => this.vm.tdx.initVm(params)),
      { diagnose: (error) => explainInitVmFailure(this.vm, params, error, host, { freshVm }) },
    );
  }

  createVcpus(count: number): void {
    for (let id = 0; id < count; id++) {
      this.#steps.run(`Create vCPU ${id}`, 'KVM_CREATE_VCPU', () => this.vcpus.push(this.vm.createVcpu(id)));
    }
  }

  /**
   * Reads the CPUID that the TD got, gives it to the vCPUs with what is KVM's to answer, and compares it with what was
   * asked for. Precedes KVM_TDX_INIT_VCPU, which refuses a vCPU without x2APIC in its CPUID.
   */
  setCpuid(resolved: ResolvedTd, host: TdHostFacts, evaluate: () => CpuidEvaluation): CpuidDifference[] {
    const { cpuid: configurable } = host.capabilities;
    const got = this.#steps.run('Read the CPUID of the TD', 'KVM_TDX_GET_CPUID', () => this.#firstVcpu.tdx.getCpuid(), {
      describe: (entries) => `${entries.length} entries`,
    });
    for (const vcpu of this.vcpus) {
      this.#steps.run(`Set the CPUID of vCPU ${vcpu.id}`, 'KVM_SET_CPUID2', () =>
        vcpu.setCpuid2(vcpuCpuid(resolved, host, vcpu.id, got)),
      );
    }
    return compareCpuid(configurable, resolved.cpuid, got, evaluate);
  }

  attachMemory(blocks: readonly MemoryBlock[]): TdMemory {
    const bytes = blocks.reduce((sum, block) => sum + block.size, 0);
    return this.#steps.run(
      'Attach the memory',
      'KVM_SET_USER_MEMORY_REGION2',
      () => attachMemory(this.#system, this.vm, blocks, this.owned),
      { describe: () => `${blocks.length} slots, ${bytes / 1024} KiB` },
    );
  }

  /** @param rcx what the guest finds in RCX and R8: the address of the TD HOB, or 0. */
  initVcpus(rcx: bigint): void {
    for (const vcpu of this.vcpus) {
      this.#steps.run(`Initialise vCPU ${vcpu.id}`, 'KVM_TDX_INIT_VCPU', () => vcpu.tdx.initVcpu(rcx));
    }
  }

  /** Copies the image into the TD, in the order that its measurement depends on. */
  async addImage(image: TdImage): Promise<void> {
    for (const region of image.regions.filter((candidate) => candidate.add)) {
      const name = `Add ${region.name}${region.measure ? ', measured' : ''}`;
      const pages = region.size / PAGE_SIZE;
      await this.#steps.runPieces(
        name,
        'KVM_TDX_INIT_MEM_REGION',
        pages,
        addRegion(this.#system, this.#firstVcpu, region),
      );
    }
  }

  finalize(): void {
    this.#steps.run('Finalise the TD', 'KVM_TDX_FINALIZE_VM', () =>
      retrying('KVM_TDX_FINALIZE_VM', () => this.vm.tdx.finalizeVm()),
    );
  }

  /** Closes what was made: the VM and its vCPUs first, then the memory behind them. */
  close(): void {
    for (const resource of this.owned.splice(0)) resource[Symbol.dispose]();
  }

  get #firstVcpu(): KvmVcpu {
    return this.vcpus[0]!;
  }
}
