/** Linear RGB as somebody sees it: Machado, Oliveira, Fernandes 2009, severity 1. */
export const VISIONS = [
  { name: 'usual colour vision', matrix: [1, 0, 0, 0, 1, 0, 0, 0, 1] },
  {
    name: 'protanopia',
    matrix: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
  },
  {
    name: 'deuteranopia',
    matrix: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
  },
  {
    name: 'tritanopia',
    matrix: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
  },
] as const;

const times = (m: readonly number[], [x, y, z]: readonly [number, number, number]): [number, number, number] => {
  const row = (i: number) => m[i]! * x + m[i + 1]! * y + m[i + 2]! * z;
  return [row(0), row(3), row(6)];
};

const linear = (value: number): number => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);

/** CIE L*a*b* (D65) of a colour `#rrggbb` that is seen through `matrix`. */
function lab(hex: string, matrix: readonly number[]): [number, number, number] {
  const part = (at: number) => linear(Number.parseInt(hex.slice(at, at + 2), 16) / 255);
  const seen = times(matrix, [part(1), part(3), part(5)]).map((v) => Math.min(1, Math.max(0, v)));
  const xyz = times(
    [0.4124, 0.3576, 0.1805, 0.2126, 0.7152, 0.0722, 0.0193, 0.1192, 0.9505],
    seen as [number, number, number],
  );
  const [x, y, z] = [xyz[0] / 0.9505, xyz[1], xyz[2] / 1.089].map((t) =>
    t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116,
  ) as [number, number, number];
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

/** How much two colours differ for somebody (CIE76); 2 is just to be seen. */
export function difference(a: string, b: string, matrix: readonly number[]): number {
  const [one, other] = [lab(a, matrix), lab(b, matrix)];
  return Math.hypot(...one.map((v, i) => v - other[i]!));
}
