import type { KernelGuestMemfd } from '../mock/kernel/guest-memfd.js';
import type { MockHost } from '../mock/kernel/host.js';
import type { Task } from '../mock/kernel/user.js';
import type { Vcpu } from '../mock/kernel/vcpu.js';
import type { Vm } from '../mock/kernel/vm.js';

/** What a descriptor of the caller's stands for: an object of the kernel storey, and what only the wire has to know of it. */
export type WireObject = SystemObject | VmObject | VcpuObject | GuestMemfdObject | OtherObject;

/** `/dev/kvm`. */
export class SystemObject {
  readonly kind = 'system';
  constructor(readonly host: MockHost) {}
  release(): void {}
}

export class VmObject {
  readonly kind = 'vm';
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
  constructor(
    readonly kernel: Vcpu,
    readonly vm: VmObject,
  ) {}

  release(): void {
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

/** A descriptor of KVM's that a TD has no use for: it keeps its VM alive. */
export class OtherObject {
  readonly kind = 'other';
  #released = false;

  constructor(
    /** As KVM calls it: `kvm-vm-stats`, `kvm-vfio`. */
    readonly name: string,
    readonly vm: VmObject,
  ) {
    vm.kernel.hold();
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.vm.kernel.drop();
  }
}
