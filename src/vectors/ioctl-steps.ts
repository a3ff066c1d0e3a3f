import { errnoName } from '../kvm/errno.js';
import { MockHost } from '../mock/kernel/host.js';
import { Refusal } from '../mock/kernel/refusal.js';
import type { SeamcallTrace } from '../mock/kernel/seamcalls.js';
import { TDX_COMMAND_NAMES } from '../mock/kernel/td.js';
import type { Task } from '../mock/kernel/user.js';
import type { Vm } from '../mock/kernel/vm.js';
import { TDH } from '../mock/module/seamcall.js';
import type { Platform } from '../mock/platform.js';
import type { Profile } from '../mock/profiles.js';
import { decodeEntries, kvmCpuid2 } from '../wire/layout/cpuid.js';
import { io, iow, iowr } from '../wire/layout/ioctl.js';
import { kvmTdxCapabilities, kvmTdxCmd, kvmTdxInitMemRegion } from '../wire/layout/tdx.js';
import {
  kvmCreateGuestMemfd,
  kvmEnableCap,
  kvmMemoryAttributes,
  kvmUserspaceMemoryRegion2,
} from '../wire/layout/vm.js';
import {
  type GuestMemfdObject,
  SystemObject,
  type VcpuObject,
  type VmObject,
  type WireObject,
} from '../wire/objects.js';
import { ioctl } from '../wire/requests/ioctl.js';
import { Call } from '../wire/requests/request.js';
import { ARGUMENT, cmdBuffer, DATA, memoryOf, type Step, type UserBuffer, userBuffer } from './ioctl-buffers.js';

export type { Step } from './ioctl-buffers.js';

/** What a step did, in the vectors' notation. */
export type StepResult = Record<string, unknown>;

const SOURCE = 0x7f00_0000_0000n;
const UNMAPPED = 0x7dea_d000_0000n;
const SLOT_MEMORY = 0x7e00_0000_0000n;
const PAGE = 4096n;
const NO_DESCRIPTOR = -1;
const U64 = (1n << 64n) - 1n;

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
/** Hex without the zero bytes at its end. */
export const trimmed = (bytes: Uint8Array): string =>
  text(bytes.subarray(0, bytes.findLastIndex((byte) => byte !== 0) + 1));
const fromHex = (digits: string): Uint8Array => new Uint8Array(Buffer.from(digits, 'hex'));
const num = (value: string | number | undefined, fallback = 0): number => Number(value ?? fallback);
const big = (value: string | number | undefined, fallback: bigint | number = 0): bigint => BigInt(value ?? fallback);

/** `function:index:flags:eax,ebx,ecx,edx`, as the vectors write CPUID entries. */
export const cpuidRow = (e: {
  function: number;
  index: number;
  flags: number;
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}): string => {
  const registers = [e.eax, e.ebx, e.ecx, e.edx].map((value) => value.toString(16).padStart(8, '0')).join(',');
  return `${e.function.toString(16)}:${e.index.toString(16)}:${e.flags.toString(16)}:${registers}`;
};

/** `struct kvm_tdx_capabilities`, as the vectors write it out. */
function decodeCapabilities({ bytes }: UserBuffer): StepResult {
  const { cpuid, ...words } = kvmTdxCapabilities.decode(bytes);
  const entries = bytes.subarray(kvmTdxCapabilities.size, kvmTdxCapabilities.size + 40 * cpuid.nent);
  const numbers = Object.entries(words).map(([name, word]) => [name, hex(word)]);
  return { ...Object.fromEntries(numbers), nent: cpuid.nent, entries: decodeEntries(entries).map(cpuidRow) };
}

/** The profile of a vector's host. */
export const profileOf = (platform: Platform, moduleVersion: string, host: Step = {}): Profile => {
  const kernel: Profile['kernel'] = {
    release: '6.16.1',
    presentCpus: host.cpus ?? 8,
    tscKhz: host.tsc_khz ?? 2_000_000,
    vmTypes: 1,
    tdx: host.tdx ?? true,
  };
  if (host.keyids_left !== undefined) kernel.keyIds = host.keyids_left;
  if (host.misc_cg_limit !== undefined) kernel.miscCgroupLimit = host.misc_cg_limit;
  return {
    name: 'vectors',
    description: '',
    origin: 'synthetic',
    kernel,
    module: { version: moduleVersion },
    platform,
  };
};

/** The process of a vector: memory slots need none; a source buffer is made for each step. */
class VectorTask implements Task {
  pending = false;
  source: { seed: number; pages: number } | undefined;

  signalPending = () => this.pending;

  page(address: bigint): Uint8Array | undefined {
    const index = Number((address - SOURCE) / PAGE);
    if (!this.source || address < SOURCE || index >= this.source.pages) return undefined;
    const { seed } = this.source;
    return Uint8Array.from({ length: 4096 }, (_, i) => {
      const n = index * 4096 + i;
      return (seed + 7 * n + Math.floor(n / 256)) & 255;
    });
  }

  // No guest of a vector touches shared memory.
  readUser = () => undefined;
  writeUser = () => false;
}

/** Drives the model through the steps of one case on a fresh host: bytes in, bytes out. */
export class StepRunner {
  readonly host: MockHost;
  readonly #system: SystemObject;
  readonly #task = new VectorTask();
  readonly #vms: VmObject[] = [];
  readonly #vcpus: VcpuObject[] = [];
  /** Their indexes are their descriptors. */
  readonly #gmems: GuestMemfdObject[] = [];
  #seamcalls: SeamcallTrace[] = [];

  constructor(profile: Profile) {
    this.host = new MockHost(profile, { onSeamcall: (trace) => this.#watch(trace) });
    this.#system = new SystemObject(this.host);
  }

  #watch(trace: SeamcallTrace): void {
    const interesting = trace.result.status !== 0n || trace.leaf === TDH.MNG_INIT;
    if (!interesting) return;
    // TD_PARAMS is in memory only while the call lasts.
    const params = trace.leaf === TDH.MNG_INIT && !trace.injected && this.host.memory.page(trace.args.rdx ?? 0n);
    this.#seamcalls.push(params ? ({ ...trace, params: params.slice(0, 1024) } as SeamcallTrace) : trace);
  }

  #vmObject(step: Step): VmObject | undefined {
    return this.#vms[step.vm ?? 0];
  }

  #vcpuObject(step: Step): VcpuObject | undefined {
    const vm = this.#vmObject(step);
    return this.#vcpus.find((vcpu) => vcpu.vm === vm && vcpu.kernel.id === num(step.vcpu));
  }

  vm(step: Step): Vm | undefined {
    return this.#vmObject(step)?.kernel;
  }

  run(step: Step): StepResult {
    const operation = operations[step.op];
    if (!operation) throw new Error(`unknown operation '${step.op}'`);
    if (!['create_vm', 'check_ext_dev', 'signal', 'close'].includes(step.op) && !this.vm(step))
      return { skip: 'no vm' };
    if (step.vcpu !== undefined && !this.#vcpuObject(step)) return { skip: 'no vcpu fd' };
    this.#seamcalls = [];
    const result: StepResult = {};
    try {
      const ret = operation(this, step, result);
      result['ret'] = typeof ret === 'number' ? ret : 0;
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      result['ret'] = -1;
      result['errno'] = errnoName(refusal.errno);
    }
    if (this.vm(step)?.dead && step.op !== 'check_ext_dev') result['vm_dead'] = true;
    if (step.op === 'tdx') this.#addSeamcalls(result);
    return result;
  }

  #addSeamcalls(result: StepResult): void {
    // Reads of metadata fail all the time: that is how KVM finds the end of a list of sub-leaves.
    const failed = this.#seamcalls.filter(
      ({ leaf, result: { status }, injected }) => status !== 0n && (injected || leaf !== TDH.MNG_RD),
    );
    if (failed.length > 0)
      result['seam_err'] = failed.map(({ leaf, result: { status }, injected }) => [
        leaf,
        hex(status),
        ...(injected ? ['injected'] : []),
      ]);
    const init = this.#seamcalls.filter(({ leaf, injected }) => leaf === TDH.MNG_INIT && !injected).at(-1);
    if (!init) return;
    const { params } = init as SeamcallTrace & { params?: Uint8Array };
    if (params) result['td_params'] = trimmed(params);
    if (init.result.status !== 0n) result['mng_init_status'] = hex(init.result.status);
    if (init.result.status !== 0n && init.result.rcx !== 0n) result['mng_init_rcx'] = hex(init.result.rcx);
  }

  /** ioctl(). A new object is kept under its kind; its descriptor counts as 0. */
  #ioctl(object: WireObject, request: number, arg: bigint, ...buffers: UserBuffer[]): number {
    const call = new Call(arg, memoryOf(...buffers), this.#task, (fd) => this.#gmems[fd]);
    const result = ioctl(object, request, call);
    if (typeof result === 'number') return result;
    if (result instanceof Promise) throw new Error('no request of the vectors blocks');
    if ('file' in result) return 0;
    const { made } = result;
    if (made.kind === 'vm') this.#vms.push(made);
    else if (made.kind === 'vcpu') this.#vcpus.push(made);
    else if (made.kind === 'guest-memfd') this.#gmems.push(made);
    return 0;
  }

  system(request: number, arg: bigint): number {
    return this.#ioctl(this.#system, request, arg);
  }

  /** A request on the vCPU or the VM of a step. @param argument a number, or what is in the structure it points at. */
  request(step: Step, request: number, argument: bigint | Uint8Array, mapped?: number): number {
    const object = step.vcpu === undefined ? this.#vmObject(step)! : this.#vcpuObject(step)!;
    if (typeof argument === 'bigint') return this.#ioctl(object, request, argument);
    return this.#ioctl(object, request, ARGUMENT, userBuffer(ARGUMENT, argument, mapped));
  }

  punchHole({ gmem, off, len }: Step): void {
    // The vectors' driver passes over a guest_memfd that was never created.
    if (gmem !== undefined) this.#gmems[num(gmem)]?.kernel.punchHole(big(off), big(len));
  }

  setSignal(pending: boolean): void {
    this.#task.pending = pending;
  }

  /** Issues a TDX sub-command; its buffers live for this step only. */
  tdx(step: Step, result: StepResult): void {
    const data = this.#data(step);
    const cmd = cmdBuffer(step, step.data === undefined ? data.address : big(step.data));
    if (step.inject) this.#inject(step);
    const before = data.bytes.slice();
    const object = step.vcpu === undefined ? this.#vmObject(step)! : this.#vcpuObject(step)!;
    let done = false;
    try {
      this.#ioctl(object, KVM_MEMORY_ENCRYPT_OP, ARGUMENT, cmd, data);
      done = true;
    } finally {
      result['hw_error'] = hex(kvmTdxCmd.decode(cmd.bytes).hw_error);
      this.#outcome(step, data, before, result, done);
      this.#task.source = undefined;
    }
    if (num(step.id) === 4 && this.vm(step)?.td?.mrtd) result['mrtd'] = text(this.vm(step)!.td!.mrtd!);
  }

  #data(step: Step): UserBuffer {
    if (step.region) return this.#region(step.region);
    const buf = fromHex(step.buf ?? step.init ?? '');
    const mapped = step.buf_len ?? (step.data === undefined ? buf.length : 0);
    return userBuffer(step.data === undefined ? DATA : big(step.data), buf.subarray(0, mapped), mapped);
  }

  #region(region: Step): UserBuffer {
    const nrPages = big(region.nr_pages);
    const fallback = Number(nrPages < 4096n ? nrPages : 4096n) || 1;
    this.#task.source = { seed: num(region.seed), pages: region.src_pages ?? fallback };
    const base = region.src === 'null' ? 0n : region.src === 'bad' ? UNMAPPED : SOURCE;
    const fields = { source_addr: (base + big(region.src_off)) & U64, gpa: big(region.gpa), nr_pages: nrPages };
    return userBuffer(DATA, kvmTdxInitMemRegion.encode(fields), region.map_len);
  }

  #inject({ id, inject }: Step): void {
    const request = TDX_COMMAND_NAMES[num(id)]!;
    const name = Object.entries(TDH).find(([, leaf]) => leaf === inject.leaf)![0];
    this.host.faults.add({
      request,
      nth: this.host.faults.calls(request) + 1,
      seamcall: `TDH.${name.replaceAll('_', '.')}`,
      status: inject.status,
      times: inject.count ?? 1,
      skip: inject.skip ?? 0,
    });
  }

  #outcome(step: Step, data: UserBuffer, before: Uint8Array, result: StepResult, done: boolean): void {
    const { bytes, mapped } = data;
    const changed = Buffer.compare(before, bytes) !== 0;
    if (num(step.id) === 0 && changed) result['out'] = trimmed(bytes);
    if (num(step.id) === 0 && done) result['caps'] = decodeCapabilities(data);
    if (step.region && mapped >= kvmTdxInitMemRegion.size) {
      const after = kvmTdxInitMemRegion.decode(bytes);
      const delta = (after.source_addr - kvmTdxInitMemRegion.decode(before).source_addr) & U64;
      result['region'] = { source_delta: hex(delta), gpa: hex(after.gpa), nr_pages: after.nr_pages };
    }
    if (num(step.id) === 5 && changed) {
      const { nent } = kvmCpuid2.decode(bytes);
      result['nent'] = nent;
      if (done) result['cpuid'] = decodeEntries(bytes.subarray(8, 8 + 40 * nent)).map(cpuidRow);
    }
  }

  close(): void {
    for (const object of [...this.#gmems, ...this.#vcpus, ...this.#vms]) object.release();
    this.#vms.length = 0;
  }
}

const KVM_MEMORY_ENCRYPT_OP = iowr(0xba, 8);

type Operation = (runner: StepRunner, step: Step, result: StepResult) => unknown;

const numbers = (args: readonly (string | number)[] = []): bigint[] => args.map((arg) => big(arg));

const operations: Readonly<Record<string, Operation>> = {
  create_vm: (r, { type }) => r.system(io(0x01), big(type)),
  check_ext_dev: (r, { cap }) => r.system(io(0x03), big(cap)),
  check_ext: (r, step) => r.request(step, io(0x03), big(step.cap)),
  enable_cap: (r, step) => {
    const fields = { cap: num(step.cap), flags: num(step.flags), args: numbers(step.args) };
    return r.request(step, iow(0xa3, kvmEnableCap), kvmEnableCap.encode(fields), step.map_len);
  },
  set_tsc_khz: (r, step) => r.request(step, io(0xa2), big(step.khz)),
  get_tsc_khz: (r, step) => r.request(step, io(0xa3), 0n),
  create_irqchip: (r, step) => r.request(step, io(0x60), 0n),
  set_boot_cpu_id: (r, step) => r.request(step, io(0x78), big(step.id)),
  create_vcpu: (r, step) => r.request(step, io(0x41), big(step.id)),
  set_cpuid2: (r, step) => {
    const entries = fromHex(step.entries ?? '');
    const header = kvmCpuid2.encode({ nent: num(step.nent, entries.length / 40) });
    return r.request(step, iow(0x90, kvmCpuid2), Buffer.concat([header, entries]), step.map_len);
  },
  tdx: (r, step, result) => r.tdx(step, result),
  gmem: (r, step) => {
    const fields = { size: big(step.size), flags: big(step.flags) };
    return r.request(step, iowr(0xd4, kvmCreateGuestMemfd), kvmCreateGuestMemfd.encode(fields));
  },
  region: (r, step) => {
    const fields = {
      slot: num(step.slot),
      flags: num(step.flags),
      guest_phys_addr: big(step.gpa),
      memory_size: big(step.size),
      userspace_addr: SLOT_MEMORY,
      guest_memfd_offset: big(step.gmem_offset),
      guest_memfd: num(step.gmem, NO_DESCRIPTOR) >>> 0,
    };
    return r.request(step, iow(0x49, kvmUserspaceMemoryRegion2), kvmUserspaceMemoryRegion2.encode(fields));
  },
  set_attr: (r, step) => {
    const fields = {
      address: big(step.gpa),
      size: big(step.size),
      attributes: big(step.attrs),
      flags: big(step.flags),
    };
    return r.request(step, iow(0xd2, kvmMemoryAttributes), kvmMemoryAttributes.encode(fields));
  },
  punch_hole: (r, step) => r.punchHole(step),
  signal: (r, { pending }) => r.setSignal(Boolean(pending)),
  close: (r) => r.close(),
};
