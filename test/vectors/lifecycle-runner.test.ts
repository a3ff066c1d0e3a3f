import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { runLifecycle } from '../../src/vectors/lifecycle.js';
import { parseVectorLine } from '../../src/vectors/parse-line.js';

describe('A life-cycle vector', () => {
  it('says at which step a scenario differs, and which rule the model followed', () => {
    const steps = [{ call: 'TDH.MNG.CREATE', rcx: { page: 0 }, rdx: 31, status: '0x0', name: 'TDX_SUCCESS' }];
    const result = runLifecycle({ steps }, { platform: loadPlatform, moduleVersion: '1.5.06' });
    expect(result).toEqual({
      ok: false,
      difference:
        'step 0: TDH.MNG.CREATE gave TDX_OPERAND_INVALID (0xc000010000000002), operand RDX, expected TDX_SUCCESS (0x0000000000000000); rule module.hkid.private',
    });
  });
});

describe('A line of a vector file', () => {
  it('keeps all bits of large integers, and leaves strings alone', () => {
    const line =
      '{"a": 10457358347639193856, "b": [18446744073709551615,1], "c": "x: 10457358347639193856,", "d": 4503599627370496}';
    expect(parseVectorLine(line)).toEqual({
      a: '10457358347639193856',
      b: ['18446744073709551615', 1],
      c: 'x: 10457358347639193856,',
      d: '4503599627370496',
    });
  });
});
