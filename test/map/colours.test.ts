import { describe, expect, it } from 'vitest';
import { contrast, INK, kindColours, mix, PAPER } from '../../src/cpuid/map/colours.js';
import { MAP_KINDS } from '../../src/cpuid/map/kinds.js';
import { difference, VISIONS } from './colour-vision.js';

describe.each(['light', 'dark'] as const)('colours on %s', (scheme) => {
  it.each(MAP_KINDS)('of $label let its letter be read (WCAG AA, 4.5 to 1)', (kind) => {
    const { on, onText, off, offText } = kindColours(kind, scheme);
    expect(contrast(on, onText)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(off, offText)).toBeGreaterThanOrEqual(4.5);
  });

  // The grey ones say that there is nothing to see; their letters have to do.
  const kinds = MAP_KINDS.filter(({ id }) => id !== 'unknown' && id !== 'absent');
  it.each(VISIONS)('of different kinds differ with $name', ({ matrix }) => {
    const close = kinds.flatMap((a, i) =>
      kinds
        .slice(i + 1)
        .filter((b) => difference(a[scheme], b[scheme], matrix) < 15)
        .map((b) => `${a.id} ${b.id}`),
    );
    expect(close).toEqual([]);
  });

  it('of text are far apart', () => {
    expect(contrast(PAPER[scheme], INK[scheme])).toBeGreaterThan(12);
  });
});

describe('contrast', () => {
  it('is 21 of black and white, and 1 of equals', () => {
    expect(contrast('#000000', '#ffffff')).toBeCloseTo(21);
    expect(contrast('#777777', '#777777')).toBe(1);
  });

  it('is of mixtures what their parts give', () => {
    expect(mix('#ff0000', '#0000ff', 0.5)).toBe('#800080');
    expect(mix('#010203', '#ffffff', 1)).toBe('#010203');
  });
});
