import { decodeTdxStatus } from '../../src/kvm/status.js';
import { GPR } from '../../src/mock/module/gpr.js';
import type { GuestTrace } from '../../src/mock/module/guest-trace.js';
import type { EnterHost, VpEnterArgs, VpEnterResult } from '../../src/mock/module/seamcall.js';
import type { TdParamsFields } from '../../src/vectors/td-params.js';
import { FakeEngine, type FakeTd, type FakeVcpu, type Step } from './fake-engine.js';
import { Host, TDH } from './host.js';

export type Register = keyof typeof GPR;
export type Registers = Partial<Record<Lowercase<Register>, bigint>>;

export interface GuestOptions extends TdParamsFields {
  version?: string;
  vcpus?: number;
  /** VCPUs get x2APIC ids: version 1 of TDH.VP.INIT. */
  x2apicIds?: boolean;
  /** GPAs of pages that are added, zero. */
  pages?: readonly bigint[];
  /** GPA of shared memory (without SHARED bit) to its bytes. */
  shared?: ReadonlyMap<number, Uint8Array>;
}

/** A TD that can run, whose processors play scripts. */
export class RunningTd {
  readonly host: Host;
  readonly tdr: bigint;
  readonly tdvprs: bigint[] = [];
  readonly trace: GuestTrace[] = [];
  readonly engine: FakeEngine;
  readonly #shared: ReadonlyMap<number, Uint8Array>;

  constructor(
    { version = '1.5.06', vcpus = 1, x2apicIds = false, pages = [], shared = new Map(), ...params }: GuestOptions,
    ...scripts: Step[][]
  ) {
    this.engine = new FakeEngine(scripts);
    this.#shared = shared;
    this.host = new Host(version, {
      engine: async () => this.engine,
      onGuest: (trace) => this.trace.push(trace),
    });
    this.tdr = this.host.td({ maxVcpus: vcpus, ...params });
    this.host.tables(this.tdr);
    for (const gpa of pages) this.host.add(this.tdr, gpa);
    for (let i = 0; i < vcpus; i++) this.tdvprs.push(this.host.vcpu(this.tdr, 0n, x2apicIds ? BigInt(i) : undefined));
    this.host.must(TDH.MR_FINALIZE, { rcx: this.tdr });
  }

  enter(args: VpEnterArgs = {}, vcpu = 0, signal: AbortSignal = AbortSignal.timeout(500)): Promise<VpEnterResult> {
    const host: EnterHost = {
      signal,
      readShared: (gpa, length) => this.#sharedBytes(gpa)?.slice(0, length),
      writeShared: (gpa, bytes) => {
        const memory = this.#sharedBytes(gpa);
        memory?.set(bytes);
        return memory !== undefined;
      },
    };
    return this.host.module.vpEnter({ rcx: this.tdvprs[vcpu]!, ...args }, host);
  }

  #sharedBytes(gpa: number): Uint8Array | undefined {
    for (const [start, bytes] of this.#shared)
      if (gpa >= start && gpa < start + bytes.length) return bytes.subarray(gpa - start);
    return undefined;
  }

  /** The TD in the engine; only after the first entry. */
  get td(): FakeTd {
    return this.engine.tds[0]!;
  }

  get cpu(): FakeVcpu {
    return this.td.vcpus[0]!;
  }

  bytes(gpa: number, length: number): Uint8Array {
    return this.td.readPrivate(gpa, length);
  }
}

/** Sets registers, and executes TDCALL. */
export const tdcall =
  (leaf: number, registers: Registers = {}): Step =>
  (cpu) => {
    set(cpu, { rax: BigInt(leaf), ...registers });
    return { kind: 'tdcall', length: 4 };
  };

export function set(cpu: FakeVcpu, registers: Registers): void {
  for (const [name, value] of Object.entries(registers)) cpu.gprs[GPR[name.toUpperCase() as Register]] = value;
}

export const get = (cpu: FakeVcpu, name: Lowercase<Register>): bigint => cpu.gprs[GPR[name.toUpperCase() as Register]]!;

export const LEAVE: Step = { kind: 'triple-fault' };

/** What a TDCALL gave: status in words, and the registers asked for. */
export async function result(
  options: GuestOptions,
  steps: Step | readonly Step[],
  ...names: Lowercase<Register>[]
): Promise<{ status: string; rule?: string } & Registers> {
  const td = new RunningTd(options, [...[steps].flat(), LEAVE]);
  await td.enter();
  return { ...statusOf(td), ...Object.fromEntries(names.map((name) => [name, get(td.cpu, name)])) };
}

/** Status in words and rule of the last TDCALL. */
export function statusOf({ trace }: RunningTd): { status: string; rule?: string } {
  const last = trace.filter((entry) => entry.kind === 'tdcall').at(-1);
  if (!last?.after) return { status: 'left the TD' };
  const status = words(last.after[GPR.RAX]!);
  return { status, ...(last.rule && { rule: last.rule }) };
}

/** `TDX_OPERAND_INVALID, operand RCX`. */
export const words = (status: bigint): string => decodeTdxStatus(status).text.replace(/ \(0x[0-9a-f]+\)/, '');
