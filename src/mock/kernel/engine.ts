import type { GuestEngine } from '../guest/engine.js';

/** TDH.VP.ENTER has nothing that executes guests: why. */
export class NoEngine extends Error {
  override readonly name = 'NoEngine';
}

/** What makes the engine of a host. @param make undefined where nobody said what executes guests. @param onMade hears of it. */
export const engineOf =
  (make: (() => Promise<GuestEngine>) | undefined, onMade: (engine: GuestEngine) => void) =>
  async (): Promise<GuestEngine> => {
    if (!make) throw new NoEngine('this host was made without one');
    try {
      const engine = await make();
      onMade(engine);
      return engine;
    } catch (error) {
      throw new NoEngine((error as Error).message, { cause: error });
    }
  };
