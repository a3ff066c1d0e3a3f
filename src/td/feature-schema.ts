import { CPUID_FEATURES, cpuidPlace } from '../cpuid/names.js';

/** What the published schema says about `features`, so that an editor completes the names and explains them. */
export const FEATURES_JSON_SCHEMA = {
  properties: Object.fromEntries(
    CPUID_FEATURES.map(({ name, leaf, subleaf, register, high, low, meaning }) => [
      name,
      {
        description: `${cpuidPlace(leaf, subleaf, register, high, low)}: ${meaning}`,
        ...(high === low
          ? { enum: [true, false, 0, 1] }
          : { type: 'integer', minimum: 0, maximum: 2 ** (high - low + 1) - 1 }),
      },
    ]),
  ),
};
