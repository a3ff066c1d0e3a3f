import type { PostedInterrupts as Descriptor } from '../../module/seamcall.js';

/** struct pi_desc: 256 bits of requests, and ON. */
export class PostedInterrupts implements Descriptor {
  readonly #pir = new Set<number>();

  get outstanding(): boolean {
    return this.#pir.size > 0;
  }

  /** pi_test_and_set_pir() and pi_test_and_set_on(). */
  post(vector: number): void {
    this.#pir.add(vector);
  }

  take(): number[] {
    const vectors = [...this.#pir];
    this.#pir.clear();
    return vectors;
  }
}
