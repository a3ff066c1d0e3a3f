import type { GuestEngine } from '../guest/engine.js';

/** TDH.VP.ENTER has nothing that executes guests: why. */
export class NoEngine extends Error {
  override readonly name = 'NoEngine';
}

/** What makes the engine of a host. @param make undefined where nobody said what executes guests. */
export const engineOf = (make: (() => Promise<GuestEngine>) | undefined) => async (): Promise<GuestEngine> => {
  if (!make) throw new NoEngine('this host was made without one');
  try {
    return await make();
  } catch (error) {
    throw new NoEngine((error as Error).message, { cause: error });
  }
};
