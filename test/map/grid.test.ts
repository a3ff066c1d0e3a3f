import { stripVTControlCharacters } from 'node:util';
import { describe, expect, it } from 'vitest';
import { mapLines } from '../../src/cli/cpuid-map-grid.js';
import { cpuidMap } from '../../src/cpuid/map/map.js';
import { cpuidHostOfModule, evaluateCpuid } from '../../src/cpuid/questions/index.js';
import { profileHost } from '../cpuid/model.js';

const map = cpuidMap(evaluateCpuid(profileHost('spr-1.5.06')));

describe('the map in a terminal', () => {
  const lines = mapLines(map, false);
  const lineOf = (leaf: string, register: string): string => {
    const first = lines.findIndex((line) => line.startsWith(`${leaf} `));
    return lines.slice(first, first + 4).find((line) => line.includes(` ${register} `))!;
  };

  it('has a letter a bit, the highest first, then requested and resulting value', () => {
    const [letters, requested, guest] = lineOf('0x7.0', 'EBX').slice(18).split(/ {2,}/);
    expect(letters!.replaceAll(' ', '')).toHaveLength(32);
    expect(letters!.replaceAll(' ', '')[31 - 16]).toBe('X');
    expect(requested).toMatch(/^[0-9a-f.]{8}$/);
    expect(guest).toBe('f1bf27e9');
  });

  it('says in one line what is of one kind and empty', () => {
    expect(lines).toContain('0x3          all  - not there');
    expect(lines).toContain('0x6          all  V #VE');
  });

  it('marks values that are not what was requested', () => {
    expect(lineOf('0x1', 'EAX')).toMatch(/\.0000000 {2}000806f8 \*$/);
    expect(lineOf('0x4.0', 'EAX')).not.toContain('*');
  });

  it('explains each letter that occurs and no other', () => {
    const legend = lines.slice(lines.indexOf('') + 1);
    expect(legend.find((line) => line.startsWith('X '))).toMatch(/^X XFAM-dependent +\d+ {2}there only with/);
    expect(legend.some((line) => line.startsWith('? '))).toBe(false);
  });

  it('fits into 80 columns', () => {
    const before = lines.slice(0, lines.indexOf(''));
    expect(Math.max(...before.map((line) => line.length))).toBeLessThanOrEqual(80);
  });

  it('is the same text with colours, and without them has none', () => {
    const coloured = mapLines(map, true);
    expect(coloured.join('\n')).toContain('\x1b[48;5;');
    expect(coloured.slice(0, -1).map(stripVTControlCharacters)).toEqual(lines.slice(0, -1));
    expect(lines.join('\n')).not.toContain('\x1b');
  });

  it('fills bits that are 1', () => {
    const avx2 = mapLines(map, true).find((line) => line.includes('f1bf27e9'))!;
    expect(avx2).toContain('\x1b[48;5;172;38;5;16mXX\x1b[0m');
  });

  it('has ? for what a module without a host leaves open', () => {
    const open = mapLines(cpuidMap(evaluateCpuid(cpuidHostOfModule('1.5.06'))), false).join('\n');
    expect(open).toMatch(/^ +EBX {2}.* \?[0-9a-f?.]{7} {2}\?/m);
  });
});
