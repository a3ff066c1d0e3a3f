import type { Access } from '../engine.js';

/** An exception of the guest, thrown before its instruction has changed anything. Delivered through the guest's IDT. */
export class GuestFault {
  readonly vector: number;
  readonly errorCode: number | undefined;
  /** The linear address of a page fault. */
  readonly cr2: bigint | undefined;

  constructor(vector: number, errorCode?: number, cr2?: bigint) {
    this.vector = vector;
    this.errorCode = errorCode;
    this.cr2 = cr2;
  }
}

/** Physical memory that does not answer: the second stage of translation has nothing there, or not for this access. */
export class EptViolation {
  /** Bytes, with the SHARED bit. */
  readonly gpa: number;
  /** The linear address whose translation or access led here. */
  readonly gla: bigint;
  readonly access: Access;

  constructor(gpa: number, gla: bigint, access: Access) {
    this.gpa = gpa;
    this.gla = gla;
    this.access = access;
  }
}

/** A fault while a double fault was being delivered: the processor shuts down. */
export class TripleFault {}

/** What the software processor cannot do, in words for a person. */
export class Stuck {
  readonly why: string;

  constructor(why: string) {
    this.why = why;
  }
}
