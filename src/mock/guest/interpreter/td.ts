import type { EngineTd, EngineVcpu, GuestSpace } from '../engine.js';
import { SpaceMemory } from './space-memory.js';
import { InterpreterVcpu } from './vcpu.js';

export class InterpreterTd implements EngineTd {
  readonly #memory: SpaceMemory;
  readonly #vcpus: InterpreterVcpu[] = [];

  readonly #onClose: () => void;

  constructor(space: GuestSpace, onClose: () => void) {
    this.#memory = new SpaceMemory(space);
    this.#onClose = onClose;
  }

  createVcpu(_index: number, gprs: BigUint64Array): EngineVcpu {
    const vcpu = new InterpreterVcpu(this.#memory, gprs);
    this.#vcpus.push(vcpu);
    return vcpu;
  }

  readPrivate(gpa: number, length: number): Uint8Array {
    const bytes = this.#memory.read(gpa, length);
    if (bytes === undefined) throw new Error(`no private page is mapped at 0x${gpa.toString(16)}`);
    return bytes;
  }

  writePrivate(gpa: number, bytes: Uint8Array): void {
    if (!this.#memory.write(gpa, bytes)) throw new Error(`no private page is mapped at 0x${gpa.toString(16)}`);
  }

  pagesMapped(gpa: number, size: number): void {
    this.#memory.changed(gpa, size);
  }

  pagesUnmapped(gpa: number, size: number): void {
    this.#memory.changed(gpa, size);
  }

  close(): void {
    for (const vcpu of this.#vcpus) vcpu.close();
    this.#onClose();
  }
}
