import type { GuestEvent } from '../engine.js';

/** Thrown by an instruction that leaves the guest before it has changed anything. */
export class Trap {
  readonly event: GuestEvent;

  constructor(event: GuestEvent) {
    this.event = event;
  }
}
