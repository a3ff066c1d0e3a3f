import type { VcpuExit } from '../kvm/exits.js';
import type { KernelGuestMemfd } from '../mock/kernel/guest-memfd.js';
import type { MockHost } from '../mock/kernel/host.js';
import type { Task } from '../mock/kernel/user.js';
import type { Vcpu } from '../mock/kernel/vcpu.js';
import type { Vm } from '../mock/kernel/vm.js';
import { PlainVcpu, PlainVm } from './plain-state.js';
import type { RunPage } from './run-page.js';

/** What a descriptor of the caller's stands for: an object of the kernel storey, and what only the wire has to know of it. */
export type WireObject = SystemObject | VmObject | VcpuObject | GuestMemfdObject;

/** `/dev/kvm`. */
export class SystemObject {
  readonly kind = 'system';
  constructor(readonly host: MockHost) {}
  release(): void {}
}

export class VmObject {
  readonly kind = 'vm';
  readonly plain = new PlainVm();
  constructor(
    readonly kernel: Vm,
    /** Who created it: nobody else may use it (kvm->mm). */
    readonly task: Task,
  ) {}

  release(): void {
    this.kernel.release();
  }
}

export class VcpuObject {
  readonly kind = 'vcpu';
  readonly plain = new PlainVcpu();
  /** What it shares with its VMM; a vCPU that nobody can map has none. */
  page: RunPage | undefined;
  /** The exit that the last KVM_RUN ended with, for the answer that the next one brings. */
  lastExit: VcpuExit | undefined;
  #tail: Promise<void> | undefined;

  constructor(
    readonly kernel: Vcpu,
    readonly vm: VmObject,
  ) {}

  /** vcpu->mutex: `body` runs when what came before is done, at once where nothing is under way. */
  exclusive<T>(body: () => T | Promise<T>): T | Promise<T> {
    const started = this.#tail ? this.#tail.then(body) : body();
    if (!(started instanceof Promise)) return started;
    const settled = () => {
      if (this.#tail === tail) this.#tail = undefined;
    };
    const tail: Promise<void> = started.then(settled, settled);
    this.#tail = tail;
    return started;
  }

  release(): void {
    this.page?.close();
    this.kernel.release();
  }
}

export class GuestMemfdObject {
  readonly kind = 'guest-memfd';
  constructor(
    readonly kernel: KernelGuestMemfd,
    readonly vm: VmObject,
  ) {}

  release(): void {
    this.kernel.release();
  }
}
