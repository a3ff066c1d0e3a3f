import fc from 'fast-check';
import { expect, test } from 'vitest';
import { findCulprits, SearchStopped } from '../../src/launch/find-culprits.js';

fc.configureGlobal({ seed: 1 });

/** Tests that fail if any item is bad, and counts them. */
function tester(bad: readonly number[]) {
  const counted = {
    tests: 0,
    passes: 0,
    fails: (items: readonly number[]) => {
      counted.tests++;
      const fails = items.some((item) => bad.includes(item));
      if (!fails) counted.passes++;
      return fails;
    },
  };
  return counted;
}

const range = (length: number) => Array.from({ length }, (_, item) => item);

test('finds exactly the bad items, wherever they are', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.uniqueArray(fc.nat(199), { minLength: 1 }), (length, some) => {
      const bad = some.filter((item) => item < length);
      if (bad.length === 0) return;
      const { culprits, suspects, stopped } = findCulprits(range(length), tester(bad).fails);
      expect([...culprits].sort((a, b) => a - b)).toEqual([...bad].sort((a, b) => a - b));
      expect(suspects).toEqual([]);
      expect(stopped).toBeUndefined();
    }),
  );
});

test('bad items at the front are found without a single passing test but the last', () => {
  const counted = tester([0, 1]);
  expect(findCulprits(range(100), counted.fails).culprits).toEqual([0, 1]);
  expect(counted.tests).toBe(4);
  expect(counted.passes).toBe(1);
});

test('takes about twice the logarithm of the length for one bad item', () => {
  for (const bad of [0, 1, 63, 500, 1023]) {
    const counted = tester([bad]);
    findCulprits(range(1024), counted.fails);
    expect(counted.tests).toBeLessThanOrEqual(22);
  }
});

test('a search that is stopped says what is left to suspect', () => {
  const counted = tester([6]);
  const fails = (items: readonly number[]) => {
    if (counted.passes === 1) throw new SearchStopped('enough');
    return counted.fails(items);
  };
  expect(findCulprits(range(8), fails)).toEqual({ culprits: [], suspects: [1, 2, 3, 4, 5, 6, 7], stopped: 'enough' });
});

test('where it is not known that all of them fail together, that is tested first', () => {
  const counted = tester([]);
  expect(findCulprits(range(9), counted.fails, false)).toEqual({ culprits: [], suspects: [] });
  expect(counted.tests).toBe(1);
});

test('any other error ends it', () => {
  const fails = () => {
    throw new TypeError('broken');
  };
  expect(() => findCulprits(range(3), fails)).toThrow(TypeError);
});
