import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseJsonText } from '../../src/cli/json-text.js';

describe('a file that is not JSON is told with line and column', () => {
  it.each([
    ['{"a": 1,}', 1, 9, 'expected a property name in double quotes after ",", but there is "}"'],
    ['{\n  "vcpus": 4\n  "memory": 1\n}', 3, 3, 'expected "," or "}", but there is "\\""'],
    ["{'vcpus': 4}", 1, 2, 'expected a property name in double quotes, but there is "\'"'],
    ['{"vcpus" 4}', 1, 10, 'expected ":", but there is "4"'],
    ['{"vcpus": }', 1, 11, 'expected a value, but there is "}"'],
    ['{"vcpus": 0x4}', 1, 12, 'expected "," or "}", but there is "x"'],
    ['[1, 2', 1, 6, 'expected "," or "]", but the file ends'],
    ['{} {}', 1, 4, 'expected the end of the file, but there is "{"'],
    ['', 1, 1, 'expected a value, but the file ends'],
    ['"a\nb"', 1, 3, 'expected the end of the string (write a line break as \\n), but there is "\\n"'],
    ['"\\x"', 1, 2, 'expected a valid escape, but there is "\\\\"'],
    ['"open', 1, 6, 'expected the end of the string, but the file ends'],
    ['// comment\n{}', 1, 1, 'expected a value, but there is "/"'],
    ['{"a": nul}', 1, 7, 'expected a value, but there is "n"'],
  ])('%j', (text, line, column, message) => {
    expect(parseJsonText(text)).toEqual({ ok: false, fault: { line, column, message } });
  });

  it('at the place where a valid text was broken, or before the next token', () => {
    fc.assert(
      fc.property(fc.json(), fc.nat(), (text, at) => {
        const place = at % (text.length + 1);
        const broken = `${text.slice(0, place)}\u0001${text.slice(place)}`;
        const parsed = parseJsonText(broken);
        expect(parsed.ok).toBe(false);
        if (!parsed.ok) expect(parsed.fault.column).toBeLessThanOrEqual(place + 1);
      }),
    );
  });
});

describe('a file that is JSON', () => {
  it('is read as JSON.parse reads it', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(parseJsonText(text)).toEqual({ ok: true, value: JSON.parse(text) });
      }),
    );
  });

  it('may begin with a byte order mark', () => {
    expect(parseJsonText('\ufeff{"a": 1}')).toEqual({ ok: true, value: { a: 1 } });
  });
});
