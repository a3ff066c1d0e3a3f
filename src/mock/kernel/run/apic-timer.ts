import type { Clock } from '../../clock.js';

/** Bits 18:17 of the timer's LVT entry. */
export const TIMER_MODE = { ONE_SHOT: 0, PERIODIC: 1 << 17, TSC_DEADLINE: 2 << 17 } as const;

/** min_timer_period_us: a shorter period would keep the host busy with nothing else. */
const SHORTEST_PERIOD = 200_000n;

/** What the timer needs of its vCPU. */
export interface TimerHost {
  readonly clock: Clock;
  /** kvm->arch.apic_bus_cycle_ns. */
  readonly busCycleNs: bigint;
  /** vcpu->arch.virtual_tsc_khz. */
  readonly tscKhz: number;
  /** kvm_read_l1_tsc(): the guest's time-stamp counter now. */
  guestTsc(): bigint;
  /** The timer's interrupt, if its LVT entry is not masked. */
  expired(): void;
}

/** apic->lapic_timer (lapic.c), as an hrtimer that posts its interrupt when it expires. */
export class ApicTimer {
  mode: number = TIMER_MODE.ONE_SHOT;
  #initialCount = 0;
  #divide = 2;
  /** Nanoseconds that the initial count lasts. */
  #period = 0n;
  /** When the count reaches 0, or did. */
  #target = 0n;
  #tscDeadline = 0n;
  #cancel: (() => void) | undefined;

  constructor(private readonly host: TimerHost) {}

  get initialCount(): number {
    return this.#initialCount;
  }

  /** TMICT: starts the count, 0 stops it. Ignored in TSC-deadline mode. */
  set initialCount(count: number) {
    if (this.mode === TIMER_MODE.TSC_DEADLINE) return;
    this.stop();
    this.#initialCount = count;
    this.#period = this.#lasting();
    if (this.#period === 0n) return;
    this.#target = this.host.clock.now() + this.#period;
    this.#arm();
  }

  /** TMCCT (apic_get_tmcct). */
  get currentCount(): number {
    if (this.#initialCount === 0 || this.#period === 0n) return 0;
    const left = this.#left();
    return Number((left % this.#period) / this.#tick);
  }

  /** TDCR: a count under way goes on at the new pace (update_target_expiration). */
  set divideConfiguration(tdcr: number) {
    const before = BigInt(this.#divide);
    this.#divide = 1 << ((((tdcr & 3) | ((tdcr & 8) >> 1)) + 1) & 7);
    if (BigInt(this.#divide) === before || this.#period === 0n) return;
    const running = this.#cancel !== undefined;
    this.#disarm();
    this.#period = this.#lasting();
    this.#target = this.host.clock.now() + (this.#left() * BigInt(this.#divide)) / before;
    if (running) this.#arm();
  }

  /** apic_update_lvtt(): from or to TSC-deadline mode everything is forgotten. */
  setMode(mode: number): void {
    if (mode === this.mode) return;
    if (mode === TIMER_MODE.TSC_DEADLINE || this.mode === TIMER_MODE.TSC_DEADLINE) {
      this.stop();
      this.#initialCount = 0;
      this.#period = 0n;
      this.#tscDeadline = 0n;
    }
    this.mode = mode;
    this.#period = this.#limited(this.#period);
  }

  /** MSR_IA32_TSC_DEADLINE: 0, and ignored, unless the timer is in that mode; 0 again once it is reached. */
  get tscDeadline(): bigint {
    return this.mode === TIMER_MODE.TSC_DEADLINE ? this.#tscDeadline : 0n;
  }

  set tscDeadline(tsc: bigint) {
    if (this.mode !== TIMER_MODE.TSC_DEADLINE) return;
    this.#disarm();
    this.#tscDeadline = tsc;
    if (tsc === 0n) return;
    const { clock, tscKhz, guestTsc } = this.host;
    const left = ((tsc - guestTsc()) * 1_000_000n) / BigInt(tscKhz);
    this.#target = clock.now() + left;
    if (left > 0n) this.#arm();
    else this.#expire();
  }

  /** cancel_apic_timer(). */
  stop(): void {
    this.#disarm();
  }

  /** Nanoseconds of one count. */
  get #tick(): bigint {
    return this.host.busCycleNs * BigInt(this.#divide);
  }

  #lasting(): bigint {
    return this.#limited(BigInt(this.#initialCount) * this.#tick);
  }

  /** limit_periodic_timer_frequency(). */
  #limited(period: bigint): bigint {
    return this.mode === TIMER_MODE.PERIODIC && period > 0n && period < SHORTEST_PERIOD ? SHORTEST_PERIOD : period;
  }

  #left(): bigint {
    const left = this.#target - this.host.clock.now();
    return left > 0n ? left : 0n;
  }

  #disarm(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #arm(): void {
    this.#disarm();
    this.#cancel = this.host.clock.at(this.#target, () => this.#expire());
  }

  /** apic_timer_fn(). */
  #expire(): void {
    this.#cancel = undefined;
    this.#tscDeadline = 0n;
    if (this.mode === TIMER_MODE.PERIODIC) {
      // Periods that nobody was awake for give one interrupt: more would find it posted already.
      const late = this.host.clock.now() - this.#target;
      this.#target += this.#period * (1n + late / this.#period);
      this.#arm();
    }
    this.host.expired();
  }
}
