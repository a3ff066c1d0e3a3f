import type { ReadableStream } from 'node:stream/web';
import { evaluateCpuid } from '../cpuid/questions/evaluate.js';
import { cpuidHostOf, type RulesSource } from '../cpuid/questions/host.js';
import { buildTdHob, bundledImage, ramLayout, type TdImage, withHob } from '../image/index.js';
import type { KvmSystem, KvmVcpu, KvmVm } from '../kvm/index.js';
import { measureTd } from '../measure/index.js';
import {
  type Finding,
  gatherHostFacts,
  type ResolvedTd,
  resolveTd,
  type TdConfig,
  TdConfigError,
  validateTd,
} from '../td/index.js';
import { TdBuilder } from './builder.js';
import type { CpuidDifference } from './cpuid-differences.js';
import { TdStateError } from './errors.js';
import type { MaxVcpus } from './max-vcpus.js';
import { planMemory, type TdMemory } from './memory.js';
import { Console } from './run/console.js';
import { checkRunOptions, type TdRunOptions } from './run/options.js';
import type { TdOutcome } from './run/outcome.js';
import { startRun } from './run/run-vcpus.js';
import { type LaunchStep, StepRecorder } from './steps.js';

export interface LaunchOptions {
  /** What is put into the TD; without it the bundled minimal TD. */
  image?: TdImage;
  /** The TDX module's rules, by version or as a document, to give reasons for CPUID; on the model they are known. */
  module?: RulesSource;
  /** Hears of each step when it is done, and of long ones while they go on. */
  onStep?: (step: LaunchStep) => void;
  /** Ends the launch; everything it holds is closed. */
  signal?: AbortSignal;
}

/**
 * A Trust Domain, from a configuration to a finalised and measured TD, on any {@link KvmSystem}.
 *
 * ```js
 * const system = openKvm();
 * const td = await TrustDomain.create(system, { vcpus: 1 });
 * console.log(system.description, td.mrtd);
 * const outcome = await td.run({ timeout: 10_000 });
 * for await (const bytes of td.console) process.stdout.write(bytes);
 * console.log(outcome.message);
 * td.close();
 * system.close();
 * ```
 */
export class TrustDomain implements Disposable {
  /** The configuration in numbers. */
  readonly resolved: ResolvedTd;
  /** SHA-384 in hexadecimal: the measurement of what was put into the TD, as the module has it after KVM_TDX_FINALIZE_VM. */
  readonly mrtd: string;
  /** Warnings and notes about the configuration; an error would have ended the launch. */
  readonly findings: readonly Finding[];
  /** Configurable CPUID bits that the TD got otherwise than asked for. */
  readonly differences: readonly CpuidDifference[];
  /** How many vCPUs this TD may have, and what decides it. */
  readonly maxVcpus: MaxVcpus;
  readonly #builder: TdBuilder;
  readonly #memory: TdMemory;
  readonly #console = new Console();
  readonly #closing = new AbortController();
  #state: 'finalized' | 'running' | 'ended' | 'closed' = 'finalized';

  private constructor(
    builder: TdBuilder,
    memory: TdMemory,
    facts: Pick<TrustDomain, 'resolved' | 'mrtd' | 'findings' | 'differences' | 'maxVcpus'>,
  ) {
    this.#builder = builder;
    this.#memory = memory;
    this.resolved = facts.resolved;
    this.mrtd = facts.mrtd;
    this.findings = facts.findings;
    this.differences = facts.differences;
    this.maxVcpus = facts.maxVcpus;
  }

  /** The VM descriptor; its life is the TD's. */
  get vm(): KvmVm {
    return this.#builder.vm;
  }

  get vcpus(): readonly KvmVcpu[] {
    return this.#builder.vcpus;
  }

  /** `ended`: it has run and does no longer. */
  get state(): 'finalized' | 'running' | 'ended' | 'closed' {
    return this.#state;
  }

  /**
   * What the guest writes to its console (a 16550 at 0x3f8), as it comes. It ends when the run does, and can be read before,
   * during and after. A reader that is there from the start misses nothing, for the guest waits for it; while there is none, the last
   * 16 MiB are kept.
   */
  get console(): ReadableStream<Uint8Array> {
    return this.#console.stream;
  }

  /**
   * Builds a TD: validates, then issues the requests in the order of the kernel's contract, up to KVM_TDX_FINALIZE_VM.
   *
   * @throws TdConfigError with every finding, before a TD exists, if the configuration cannot work here.
   * @throws ImageError or RangeError if the image does not fit the memory.
   * @throws TdLaunchError that names the step and the check behind it, if a request is refused all the same.
   * @throws the reason of `signal`. However it ends early, everything it made is closed.
   */
  static async create(system: KvmSystem, config: TdConfig, options: LaunchOptions = {}): Promise<TrustDomain> {
    const steps = new StepRecorder(options.onStep, options.signal);
    const host = steps.run('Ask the host', 'KVM_TDX_CAPABILITIES', () => gatherHostFacts(system));
    const findings = validateTd(config, host);
    if (findings.some((finding) => finding.severity === 'error')) throw new TdConfigError(findings);
    const resolved = resolveTd(config, host);
    const ram = ramLayout(resolved.memory);
    const given = options.image ?? bundledImage();
    const image = given.hob ? withHob(given, buildTdHob({ ...given.hob, ram, regions: given.regions })) : given;
    const blocks = planMemory(ram, image);

    const builder = new TdBuilder(system, steps);
    try {
      const maxVcpus = builder.limitVcpus(resolved.maxVcpus);
      builder.enableCapabilities();
      builder.setTsc(resolved.tscKhz);
      builder.initVm(resolved, host);
      builder.createVcpus(resolved.vcpus);
      const { module } = options;
      const expected = () =>
        evaluateCpuid(cpuidHostOf(system, { facts: host, ...(module !== undefined && { module }) }), config);
      const differences = builder.setCpuid(resolved, host, expected);
      const memory = builder.attachMemory(blocks);
      builder.initVcpus(image.hob?.gpa ?? 0n);
      await builder.addImage(image);
      builder.finalize();
      const { mrtd } = measureTd(image);
      return new TrustDomain(builder, memory, { resolved, mrtd, findings, differences, maxVcpus });
    } catch (error) {
      builder.close();
      throw error;
    }
  }

  /**
   * Runs the guest on all vCPUs until it ends, and says how it ended: by its exit port, by an error of its own, by a fault with what
   * probably caused it, by `signal`, `timeout` or {@link close}. Ports and addresses without a device are an empty bus.
   * When it settles, no vCPU runs. A TD runs once.
   *
   * @throws TdStateError if the TD runs, has run or is closed.
   * @throws TypeError or RangeError for an option that cannot be used; what a hook throws.
   */
  async run(options: TdRunOptions = {}): Promise<TdOutcome> {
    if (this.#state !== 'finalized') throw new TdStateError(this.#state);
    const { vcpus, mrtd } = this;
    const checked = checkRunOptions(options);
    const running = startRun(
      { vcpus, mrtd, td: true, memory: this.#memory, console: this.#console, closing: this.#closing.signal },
      checked,
    );
    this.#state = 'running';
    try {
      return await running;
    } finally {
      if (this.#state === 'running') this.#state = 'ended';
    }
  }

  /** Stops the vCPUs and gives everything back: memory, KeyID, descriptors. Safe to call twice. */
  close(): void {
    const ran = this.#state !== 'finalized';
    this.#state = 'closed';
    this.#closing.abort();
    this.#builder.close();
    if (!ran) this.#console.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
