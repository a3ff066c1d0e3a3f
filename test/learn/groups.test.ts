import { describe, expect, it } from 'vitest';
import { findGroups } from '../../src/learn/groups.js';

/** Accepts by rules of the form "all of these or none", "this needs that", "never these two". */
const accepting =
  (rules: { together?: number[][]; needs?: [number, number][]; never?: number[][] }) =>
  async (mask: bigint): Promise<boolean> => {
    const has = (bit: number) => ((mask >> BigInt(bit)) & 1n) === 1n;
    return (
      (rules.together ?? []).every((bits) => bits.every(has) || !bits.some(has)) &&
      (rules.needs ?? []).every(([bit, other]) => !has(bit) || has(other)) &&
      !(rules.never ?? []).some((bits) => bits.every(has))
    );
  };

describe('bits of a field', () => {
  it('that are independent are groups of their own', async () => {
    const { groups, full } = await findGroups([2, 9], accepting({}));
    expect(groups).toEqual([
      { bits: [2], needs: [] },
      { bits: [9], needs: [] },
    ]);
    expect(full).toBe(0x204n);
  });

  it('that go together are one group, also where they are not neighbours', async () => {
    const accepts = accepting({
      together: [
        [5, 6, 7],
        [3, 17],
        [11, 12],
      ],
      needs: [
        [5, 2],
        [17, 11],
      ],
    });
    const { groups } = await findGroups([2, 3, 5, 6, 7, 9, 11, 12, 17], accepts);
    expect(groups).toEqual([
      { bits: [2], needs: [] },
      { bits: [3, 17], needs: [11, 12] },
      { bits: [5, 6, 7], needs: [2] },
      { bits: [9], needs: [] },
      { bits: [11, 12], needs: [] },
    ]);
  });

  it('that exclude each other are named as pairs', async () => {
    const { groups, exclusive, full } = await findGroups(
      [0, 28, 29, 63],
      accepting({
        never: [
          [0, 29],
          [29, 63],
        ],
      }),
    );
    expect(groups).toHaveLength(4);
    expect(exclusive).toEqual([
      [0, 29],
      [29, 63],
    ]);
    expect(full).toBe((1n << 63n) | (1n << 28n) | 1n);
  });

  it('that are offered and refused are left out', async () => {
    const { groups, refused } = await findGroups([2, 8, 17, 18], accepting({ never: [[8]], together: [[17, 18]] }));
    expect(refused).toEqual([8]);
    expect(groups).toEqual([
      { bits: [2], needs: [] },
      { bits: [17, 18], needs: [] },
    ]);
  });
});
