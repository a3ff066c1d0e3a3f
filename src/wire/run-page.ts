import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { kvmRun, type Member, PIO_DATA_OFFSET } from './layout/run.js';
import type { Decoded, Field, Fields } from './layout/struct.js';
import { VCPU_MMAP_SIZE } from './requests/system.js';

/**
 * The pages that a vCPU shares with its VMM: a file that the program maps. The page cache is one, so what either side
 * writes the other reads.
 */
export class RunPage {
  readonly #file: number;
  #closed = false;

  /** Makes the file. @throws the system's error where it cannot. */
  constructor(readonly path: string) {
    this.#file = openSync(path, 'wx+', 0o600);
    // As long as it will be mapped: behind the end of a file there is SIGBUS.
    writeSync(this.#file, new Uint8Array(VCPU_MMAP_SIZE), 0, VCPU_MMAP_SIZE, 0);
  }

  read(offset: number, length: number): Uint8Array {
    const data = new Uint8Array(length);
    if (!this.#closed) readSync(this.#file, data, 0, length, offset);
    return data;
  }

  /** What a program that truncated the file does not find there any more, it has to itself. */
  write(offset: number, data: Uint8Array): void {
    if (!this.#closed) writeSync(this.#file, data, 0, data.length, offset);
  }

  /** A field of kvm_run. */
  get<T>(field: Field<T>): T {
    const data = this.read(field.offset, field.size);
    return field.read(new DataView(data.buffer), -field.offset);
  }

  set<T>(field: Field<T>, value: T): void {
    const data = new Uint8Array(field.size);
    field.write(new DataView(data.buffer), -field.offset, value);
    this.write(field.offset, data);
  }

  /** A member of the union in kvm_run. */
  take<F extends Fields>({ offset, struct }: Member<F>): Decoded<F> {
    return struct.decode(this.read(offset, struct.size));
  }

  put<F extends Fields>({ offset, struct }: Member<F>, value: Partial<Decoded<F>>): void {
    this.write(offset, struct.encode(value));
  }

  get immediateExit(): boolean {
    return this.get(kvmRun.fields.immediate_exit) !== 0;
  }

  readPortData = (length: number): Uint8Array => this.read(PIO_DATA_OFFSET, length);

  writePortData(data: Uint8Array): void {
    this.write(PIO_DATA_OFFSET, data.subarray(0, 4096));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#file);
    unlinkSync(this.path);
  }
}
