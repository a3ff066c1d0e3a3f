import { findMapKind, MAP_KINDS, type MapKindId } from '../cpuid/map/kinds.js';
import { differingBits, kindsOf, type MapLeaf, type MapRegister } from '../cpuid/map/map.js';
import { digits, leafText } from './cpuid-output.js';

/** Paints text in a colour of the map: `filled` for bits that are 1. */
type Paint = (text: string, kind: MapKindId, filled: boolean) => string;

const plain: Paint = (text) => text;
const coloured: Paint = (text, kind, filled) => {
  const { terminal } = findMapKind(kind);
  return filled ? `\x1b[48;5;${terminal};38;5;16m${text}\x1b[0m` : `\x1b[38;5;${terminal}m${text}\x1b[0m`;
};

/** Letters from bit 31 to bit 0, a gap between bytes; neighbours of one look are painted at once. */
function letters(register: MapRegister, paint: Paint): string {
  const kinds = kindsOf(register);
  let text = '';
  for (let bit = 31; bit >= 0; ) {
    const kind = kinds[bit]!;
    const filled = ((register.guest.value >>> bit) & 1) === 1;
    let run = '';
    do {
      run += findMapKind(kind).letter;
      bit--;
    } while (
      bit % 8 !== 7 &&
      bit >= 0 &&
      kinds[bit] === kind &&
      ((register.guest.value >>> bit) & 1) === Number(filled)
    );
    text += paint(run, kind, filled);
    if (bit % 8 === 7) text += ' ';
  }
  return text;
}

/** Eight digits of what was asked for: `.` where nothing of a digit can be. */
export function requestedDigits({ requested }: MapRegister): string {
  if (!requested) return '........';
  const { mask, value, unknown } = requested;
  return [28, 24, 20, 16, 12, 8, 4, 0]
    .map((low) => {
      const nibble = (bits: number) => (bits >>> low) & 0xf;
      return nibble(mask) === 0 ? '.' : nibble(unknown) ? '?' : nibble(value).toString(16);
    })
    .join('');
}

function leafLines({ leaf, subleaf, registers }: MapLeaf, paint: Paint): string[] {
  const place = leafText(leaf, subleaf).padEnd(13);
  const kinds = new Set(registers.flatMap(kindsOf));
  const [only] = kinds;
  const empty = registers.every(({ guest }) => guest.value === 0 && guest.unknown === 0);
  // A sub-leaf of one kind without a 1 has nothing else to show.
  if (kinds.size === 1 && empty) {
    const { letter, label } = findMapKind(only!);
    return [`${place}${'all'.padEnd(5)}${paint(letter, only!, false)} ${label}`];
  }
  return registers.map((register, i) => {
    const view = { ...register, leaf, subleaf };
    const mark = differingBits(register) === 0 ? '' : ' *';
    const values = `${requestedDigits(register)}  ${digits(view)}${mark}`;
    return `${(i === 0 ? place : '').padEnd(13)}${register.register.toUpperCase().padEnd(5)}${letters(register, paint)}  ${values}`;
  });
}

/** What the letters mean and how many bits have each; kinds that do not occur are left out. */
function legend(map: readonly MapLeaf[], paint: Paint): string[] {
  const counts = new Map<MapKindId, number>();
  for (const kind of map.flatMap(({ registers }) => registers.flatMap(kindsOf)))
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return MAP_KINDS.filter(({ id }) => counts.has(id)).map(
    ({ id, letter, label, meaning }) =>
      `${paint(letter, id, true)} ${label.padEnd(20)}${String(counts.get(id)).padStart(5)}  ${meaning}`,
  );
}

/** The map in lines of at most 80 columns; bits that are 1 are filled where there are colours. */
export function mapLines(map: readonly MapLeaf[], colors: boolean): string[] {
  const paint = colors ? coloured : plain;
  const head = `${''.padEnd(18)}${['31    24', '23    16', '15     8', '7      0'].join(' ')}   requested guest`;
  return [
    head,
    ...map.flatMap((leaf) => leafLines(leaf, paint)),
    '',
    ...legend(map, paint),
    `Digits: . cannot be asked for, ? unknown, g the guest decides; * differs from what was asked for.${colors ? ' Filled: 1.' : ''}`,
  ];
}
