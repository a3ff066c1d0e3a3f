import { errnoName } from '../kvm/errno.js';
import type { KernelGuestMemfd } from '../mock/kernel/guest-memfd.js';
import { MockHost } from '../mock/kernel/host.js';
import { Refusal } from '../mock/kernel/refusal.js';
import type { SeamcallTrace } from '../mock/kernel/seamcalls.js';
import { TDX_COMMAND_NAMES } from '../mock/kernel/td.js';
import { efault, type Task } from '../mock/kernel/user.js';
import type { Vcpu } from '../mock/kernel/vcpu.js';
import { Vm } from '../mock/kernel/vm.js';
import { TDH } from '../mock/module/seamcall.js';
import type { Platform } from '../mock/platform.js';
import type { Profile } from '../mock/profiles.js';
import { bytesAt, decodeEntries, encodeRegion, UserBytes, userCmd } from './ioctl-bytes.js';

// biome-ignore lint/suspicious/noExplicitAny: a step of a vector; each operation reads the fields it has
export type Step = any;

/** What a step did, in the vectors' notation. */
export type StepResult = Record<string, unknown>;

const SOURCE = 0x7f00_0000_0000n;
const UNMAPPED = 0x7dea_d000_0000n;
const SLOT_MEMORY = 0x7e00_0000_0000n;
const SIZEOF_ENABLE_CAP = 104;
const PAGE = 4096n;
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
function decodeCapabilities(user: UserBytes): StepResult {
  const nent = user.u32(2048);
  return {
    supported_attrs: hex(user.u64(0)),
    supported_xfam: hex(user.u64(8)),
    kernel_tdvmcallinfo_1_r11: hex(user.u64(16)),
    user_tdvmcallinfo_1_r11: hex(user.u64(24)),
    kernel_tdvmcallinfo_1_r12: hex(user.u64(32)),
    user_tdvmcallinfo_1_r12: hex(user.u64(40)),
    nent,
    entries: decodeEntries(user.copyFrom(2056, 40 * nent)).map(cpuidRow),
  };
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

/** Drives the kernel storey through the steps of one case on a fresh host. */
export class StepRunner {
  readonly host: MockHost;
  readonly #task = new VectorTask();
  readonly #vms: Vm[] = [];
  readonly #gmems: KernelGuestMemfd[] = [];
  #seamcalls: SeamcallTrace[] = [];

  constructor(profile: Profile) {
    this.host = new MockHost(profile, { onSeamcall: (trace) => this.#watch(trace) });
  }

  #watch(trace: SeamcallTrace): void {
    const interesting = trace.result.status !== 0n || trace.leaf === TDH.MNG_INIT;
    if (!interesting) return;
    // TD_PARAMS is in memory only while the call lasts.
    const params = trace.leaf === TDH.MNG_INIT && !trace.injected && this.host.memory.page(trace.args.rdx ?? 0n);
    this.#seamcalls.push(params ? ({ ...trace, params: params.slice(0, 1024) } as SeamcallTrace) : trace);
  }

  vm(step: Step): Vm | undefined {
    return this.#vms[step.vm ?? 0];
  }

  vcpu(step: Step): Vcpu | undefined {
    return this.vm(step)?.vcpus.get(num(step.vcpu));
  }

  run(step: Step): StepResult {
    const operation = operations[step.op];
    if (!operation) throw new Error(`unknown operation '${step.op}'`);
    if (!['create_vm', 'check_ext_dev', 'signal', 'close'].includes(step.op) && !this.vm(step))
      return { skip: 'no vm' };
    if (step.vcpu !== undefined && !this.vcpu(step)) return { skip: 'no vcpu fd' };
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

  createVm(type: number): void {
    this.#vms.push(new Vm(this.host, this.#task, type));
  }

  createGmem(vm: Vm, size: bigint, flags: bigint): void {
    this.#gmems.push(vm.createGuestMemfd(() => ({ size, flags })));
  }

  gmem(index: string | number | undefined): KernelGuestMemfd | undefined {
    return index === undefined ? undefined : this.#gmems[num(index)];
  }

  setSignal(pending: boolean): void {
    this.#task.pending = pending;
  }

  /** Issues a TDX sub-command; its buffers live for this step only. */
  tdx(step: Step, result: StepResult): void {
    const data = this.#data(step);
    const cmd = userCmd(
      { id: num(step.id) >>> 0, flags: num(step.flags) >>> 0, data: data.address, hwError: big(step.hw_error) },
      step.cmd_len ?? 24,
    );
    if (step.inject) this.#inject(step);
    const before = data.user.bytes.slice();
    let done = false;
    try {
      const target = step.vcpu === undefined ? this.vm(step)! : this.vcpu(step)!;
      target.memoryEncryptOp(cmd, bytesAt(data.user));
      done = true;
    } finally {
      result['hw_error'] = hex(cmd.hwError);
      this.#outcome(step, data.user, before, result, done);
      this.#task.source = undefined;
    }
    if (num(step.id) === 4 && this.vm(step)?.td?.mrtd) result['mrtd'] = text(this.vm(step)!.td!.mrtd!);
  }

  #data(step: Step): { address: bigint; user: UserBytes } {
    if (step.region) return { address: 1n, user: this.#region(step.region) };
    const buf = fromHex(step.buf ?? step.init ?? '');
    const mapped = step.buf_len ?? (step.data === undefined ? buf.length : 0);
    return { address: big(step.data), user: new UserBytes(buf, mapped) };
  }

  #region(region: Step): UserBytes {
    const nrPages = big(region.nr_pages);
    const fallback = Number(nrPages < 4096n ? nrPages : 4096n) || 1;
    this.#task.source = { seed: num(region.seed), pages: region.src_pages ?? fallback };
    const base = region.src === 'null' ? 0n : region.src === 'bad' ? UNMAPPED : SOURCE;
    const sourceAddr = (base + big(region.src_off)) & U64;
    return new UserBytes(encodeRegion({ sourceAddr, gpa: big(region.gpa), nrPages }), region.map_len ?? 24);
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

  #outcome(step: Step, user: UserBytes, before: Uint8Array, result: StepResult, done: boolean): void {
    const changed = Buffer.compare(before, user.bytes) !== 0;
    if (num(step.id) === 0 && changed) result['out'] = trimmed(user.bytes);
    if (num(step.id) === 0 && done) result['caps'] = decodeCapabilities(user);
    if (step.region && user.mapped >= 24) {
      const delta = (user.u64(0) - new UserBytes(before, 24).u64(0)) & U64;
      result['region'] = { source_delta: hex(delta), gpa: hex(user.u64(8)), nr_pages: user.u64(16) };
    }
    if (num(step.id) === 5 && changed) {
      result['nent'] = user.u32(0);
      if (done) result['cpuid'] = decodeEntries(user.copyFrom(8, 40 * user.u32(0))).map(cpuidRow);
    }
  }

  close(): void {
    for (const gmem of this.#gmems) gmem.release();
    for (const vm of this.#vms) {
      for (const vcpu of vm.vcpus.values()) vcpu.release();
      vm.release();
    }
    this.#vms.length = 0;
  }
}

type Operation = (runner: StepRunner, step: Step, result: StepResult) => unknown;

const operations: Readonly<Record<string, Operation>> = {
  create_vm: (r, { type }) => r.createVm(num(type)),
  check_ext: (r, step) => r.vm(step)!.checkExtension(num(step.cap)),
  check_ext_dev: (r, { cap }) => r.host.checkExtension(num(cap)),
  enable_cap: (r, step) =>
    r.vm(step)!.enableCap(() => {
      if ((step.map_len ?? SIZEOF_ENABLE_CAP) < SIZEOF_ENABLE_CAP) efault();
      return {
        cap: num(step.cap),
        flags: num(step.flags),
        args: (step.args ?? []).map((arg: string | number) => big(arg)),
      };
    }),
  set_tsc_khz: (r, step) => (step.vcpu === undefined ? r.vm(step)! : r.vcpu(step)!).setTscKhz(big(step.khz)),
  get_tsc_khz: (r, step) => (step.vcpu === undefined ? r.vm(step)! : r.vcpu(step)!).getTscKhz(),
  create_irqchip: (r, step) => r.vm(step)!.createIrqchip(),
  set_boot_cpu_id: (r, step) => r.vm(step)!.setBootCpuId(big(step.id)),
  create_vcpu: (r, step) => void r.vm(step)!.createVcpu(big(step.id)),
  set_cpuid2: (r, step) => {
    const entries = fromHex(step.entries ?? '');
    const user = new UserBytes(entries, Math.max((step.map_len ?? 8 + entries.length) - 8, 0));
    r.vcpu(step)!.setCpuid2(() => {
      if ((step.map_len ?? 8) < 8) efault();
      const nent = num(step.nent, entries.length / 40);
      return { nent, readEntries: () => decodeEntries(user.copyFrom(0, 40 * nent)) };
    });
  },
  tdx: (r, step, result) => r.tdx(step, result),
  gmem: (r, step) => r.createGmem(r.vm(step)!, big(step.size), big(step.flags)),
  region: (r, step) =>
    r.vm(step)!.setUserMemoryRegion2(() => ({
      slot: num(step.slot),
      flags: num(step.flags),
      guestPhysAddr: big(step.gpa),
      memorySize: big(step.size),
      userspaceAddr: SLOT_MEMORY,
      guestMemfdOffset: big(step.gmem_offset),
      guestMemfd: r.gmem(step.gmem),
    })),
  set_attr: (r, step) =>
    r.vm(step)!.setMemoryAttributes(() => ({
      address: big(step.gpa),
      size: big(step.size),
      attributes: big(step.attrs),
      flags: big(step.flags),
    })),
  // The vectors' driver passes over a guest_memfd that was never created.
  punch_hole: (r, step) => r.gmem(step.gmem)?.punchHole(big(step.off), big(step.len)),
  signal: (r, { pending }) => r.setSignal(Boolean(pending)),
  close: (r) => r.close(),
};
