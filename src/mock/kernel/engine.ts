import type { GuestEngine } from '../guest/engine.js';

/** TDH.VP.ENTER has nothing that executes guests: why. */
export class NoEngine extends Error {
  override readonly name = 'NoEngine';
}

/** What executes the guests of a host: made when it is first asked for, and again after {@link close}. */
export class HostEngine {
  #engine: Promise<GuestEngine> | undefined;

  /** @param make undefined where nobody said what executes guests. */
  constructor(private readonly make: (() => Promise<GuestEngine>) | undefined) {}

  /** The engine. Rejects with {@link NoEngine}. */
  readonly get = (): Promise<GuestEngine> => {
    this.#engine ??= this.#open();
    return this.#engine;
  };

  async #open(): Promise<GuestEngine> {
    if (!this.make) throw new NoEngine('this host was made without one');
    try {
      return await this.make();
    } catch (error) {
      throw new NoEngine((error as Error).message, { cause: error });
    }
  }

  /** Closes the engine, if there is one. No guest may be inside. */
  async close(): Promise<void> {
    const engine = this.#engine;
    this.#engine = undefined;
    // It rejects if it could not be made, which those who asked for it were told.
    (await engine?.catch(() => undefined))?.close();
  }
}
