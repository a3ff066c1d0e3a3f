import type { ModuleFacts } from './facts.js';

export const HKID = { FREE: 0, ASSIGNED: 1, FLUSHED: 2, RESERVED: 3 } as const;
export type HkidState = (typeof HKID)[keyof typeof HKID];

interface KotEntry {
  state: HkidState;
  /** Packages whose caches still hold lines of this KeyID. */
  dirtyPackages: Set<number>;
}

/** The key ownership table: which private KeyID is free, a TD's, or waits for its cache write-back. */
export class Kot {
  readonly #entries: KotEntry[] = [];
  readonly #min: number;

  constructor(facts: ModuleFacts) {
    this.#min = facts.privateHkidMin;
    for (let hkid = facts.privateHkidMin; hkid <= facts.privateHkidMax; hkid++)
      this.#entries.push({
        state: hkid === facts.globalHkid ? HKID.RESERVED : HKID.FREE,
        dirtyPackages: new Set(),
      });
  }

  /** Undefined for a KeyID that is not private. */
  get(hkid: number): KotEntry | undefined {
    return this.#entries[hkid - this.#min];
  }

  /** Entries of KeyIDs whose TDs are blocked and flushed. */
  flushed(): KotEntry[] {
    return this.#entries.filter((entry) => entry.state === HKID.FLUSHED);
  }
}
