import { MAP_KINDS, type MapKind } from './kinds.js';

type Rgb = readonly [number, number, number];

const rgb = (hex: string): Rgb => {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 0xff, value & 0xff];
};

/** `part` of `a`, the rest of `b`; colours as #rrggbb. */
export function mix(a: string, b: string, part: number): string {
  const [x, y] = [rgb(a), rgb(b)];
  return `#${x
    .map((v, i) => Math.round(v * part + y[i]! * (1 - part)).toString(16))
    .map((t) => t.padStart(2, '0'))
    .join('')}`;
}

/** Relative luminance (WCAG 2.2). */
function luminance(hex: string): number {
  const [r, g, b] = rgb(hex).map((v) => {
    const c = v / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Contrast of two colours, 1 to 21 (WCAG 2.2). */
export function contrast(a: string, b: string): number {
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

export const PAPER = { light: '#fcfcfa', dark: '#17191b' } as const;
export const INK = { light: '#1b1d1f', dark: '#e4e6e8' } as const;
const BLACK = '#101214';
const WHITE = '#ffffff';

/** How much of the fill a bit that is 0 keeps. */
const TINT = { light: 0.3, dark: 0.28 } as const;

/** Colours of one kind on one background: of a bit that is 1, and of any other. */
export function kindColours(kind: MapKind, scheme: 'light' | 'dark') {
  const on = kind[scheme];
  const onText = contrast(on, BLACK) >= contrast(on, WHITE) ? BLACK : WHITE;
  return { on, onText, off: mix(on, PAPER[scheme], TINT[scheme]), offText: INK[scheme] };
}

/** CSS classes `k-xfam`, each with the colours of a kind in both schemes. */
export const kindStyles = (): string =>
  MAP_KINDS.map((kind) => {
    const [light, dark] = [kindColours(kind, 'light'), kindColours(kind, 'dark')];
    const pairs = (['on', 'onText', 'off', 'offText'] as const).map((name) => {
      const property = name.replace('T', '-t');
      return `--${property}:light-dark(${light[name]},${dark[name]})`;
    });
    return `.k-${kind.id}{${pairs.join(';')}}`;
  }).join('\n');
