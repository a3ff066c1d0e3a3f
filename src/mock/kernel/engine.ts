import type { GuestEngine } from '../guest/engine.js';

/** What executes the guests of a host: made when the first guest is entered, kept for the others. */
export class HostEngine {
  #engine: Promise<GuestEngine> | undefined;

  /** @param make undefined where nobody said what executes guests. */
  constructor(private readonly make: (() => Promise<GuestEngine>) | undefined) {}

  /** The engine; made anew after {@link close}. Rejects where none can be had. */
  readonly get = (): Promise<GuestEngine> => {
    this.#engine ??= this.make ? this.make() : Promise.reject(new Error('this host was made without one'));
    return this.#engine;
  };

  /** Why no guest can be executed; undefined where one can. */
  async whyNone(): Promise<string | undefined> {
    try {
      await this.get();
      return undefined;
    } catch (error) {
      this.#engine = undefined;
      return `KVM_RUN's checks passed, but the model has nothing that executes its guests: ${(error as Error).message}`;
    }
  }

  /** With the last TD; nobody may be inside. */
  close(): void {
    const engine = this.#engine;
    this.#engine = undefined;
    engine?.then(
      (made) => made.close(),
      () => {},
    );
  }
}
