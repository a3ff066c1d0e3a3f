import type { EngineVcpu, GuestSpace, PrivatePage } from '../../src/mock/guest/engine.js';

const PAGE = 0x1000;

/** Memory of a TD for tests: private pages that are mapped by hand, and shared memory that the test sees. */
export class FakeSpace implements GuestSpace {
  readonly sharedBit = 2 ** 47;
  readonly pages = new Map<number, PrivatePage>();
  readonly shared = new Map<number, Uint8Array>();
  cpuidAnswer: readonly [number, number, number, number] | undefined;

  map(gpa: number, bytes: Uint8Array = new Uint8Array(PAGE)): void {
    for (let at = 0; at < bytes.length; at += PAGE) {
      const page = new Uint8Array(PAGE);
      page.set(bytes.subarray(at, at + PAGE));
      this.pages.set(gpa + at, { state: 'mapped', bytes: page });
    }
  }

  share(gpa: number): Uint8Array {
    const bytes = new Uint8Array(PAGE);
    this.shared.set(gpa, bytes);
    return bytes;
  }

  privatePage(gpa: number): PrivatePage {
    return this.pages.get(gpa - (gpa % PAGE)) ?? { state: 'absent' };
  }

  readShared(gpa: number, length: number): Uint8Array | undefined {
    const offset = gpa % PAGE;
    return this.shared.get(gpa - offset)?.slice(offset, offset + length);
  }

  writeShared(gpa: number, bytes: Uint8Array): boolean {
    const offset = gpa % PAGE;
    const page = this.shared.get(gpa - offset);
    page?.set(bytes, offset);
    return page !== undefined;
  }

  cpuid(_vcpu: EngineVcpu): readonly [number, number, number, number] | undefined {
    return this.cpuidAnswer;
  }
}
