import { describe, expect, it } from 'vitest';
import type { Step } from './fake-engine.js';
import { result, tdcall } from './guest-td.js';

const GET = 3;
const OUT = ['rcx', 'rdx', 'r8', 'r9', 'r10', 'r11', 'r12'] as const;
const JUNK = Object.fromEntries(OUT.map((name) => [name, 0xffn]));
const REST = { r11: 0xffn, r12: 0xffn };

const write: Step = { kind: 'ept-violation', gpa: 2 ** 47 + 0x1234, gla: 0x9234n, access: 'write', length: 5 };
const out: Step = {
  kind: 'io',
  length: 1,
  port: 0x3f8,
  size: 2,
  write: true,
  string: false,
  rep: false,
  immediate: false,
};
const get = tdcall(GET, JUNK);

describe('TDG.VP.VEINFO.GET', () => {
  it('gives reason, qualification, addresses, and length of the instruction', async () => {
    expect(await result({}, [write, get], ...OUT)).toEqual({
      status: 'TDX_SUCCESS',
      rcx: 48n,
      rdx: 0x182n,
      r8: 0x9234n,
      r9: 0x8000_0000_1234n,
      r10: 5n,
      ...REST,
    });
  });

  it('gives nothing but zeros where no #VE is waiting, as after the first call', async () => {
    const none = {
      status: 'TDX_NO_VALID_VE_INFO',
      rule: 'module.veinfo.valid',
      rcx: 0n,
      rdx: 0n,
      r8: 0n,
      r9: 0n,
      r10: 0n,
    };
    expect(await result({}, get, ...OUT)).toEqual({ ...none, ...REST });
    expect(await result({}, [out, get, get], ...OUT)).toEqual({ ...none, ...REST });
  });

  it('makes room for the next #VE', async () => {
    expect(await result({}, [out, get, out, get], 'rcx', 'rdx')).toEqual({
      status: 'TDX_SUCCESS',
      rcx: 30n,
      rdx: 0x3f8_0001n,
    });
  });

  it('has one version up to 1.5.06', async () => {
    expect((await result({}, [out, tdcall(GET | (1 << 16))])).rule).toBe('module.tdcall.version');
  });

  it('has a category since (version 1), and clears R11 and R12 (version 2)', async () => {
    const version = '1.5.25';
    expect(await result({ version }, [out, tdcall(GET | (1 << 16), JUNK)], 'rcx', 'r11')).toMatchObject({
      rcx: (0x11n << 32n) | 30n,
      r11: 0xffn,
    });
    expect(await result({ version }, [out, tdcall(GET | (2 << 16), JUNK)], 'r11', 'r12')).toMatchObject({
      r11: 0n,
      r12: 0n,
    });
    expect(await result({ version }, [out, tdcall(GET | (3 << 16), JUNK)], 'r10')).toEqual({
      status: 'TDX_OPERAND_INVALID, operand RAX',
      rule: 'module.tdcall.version',
      r10: 0n,
    });
  });
});
