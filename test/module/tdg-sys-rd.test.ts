import { describe, expect, it } from 'vitest';
import { LEAVE, RunningTd, result, statusOf, tdcall } from './guest-td.js';

const [SYS_RD, SYS_RDALL] = [11, 12];
const NONE = (1n << 64n) - 1n;
const TDX_FEATURES0 = 0x0a00_0003_0000_0008n;
const VENDOR_ID = 0x0800_0002_0000_0000n;

describe('TDG.SYS.RD', () => {
  it.each([
    ['VENDOR_ID', VENDOR_ID, 0x8086n, 0x0800_0001_0000_0003n],
    ['MAJOR_VERSION', 0x0800_0001_0000_0004n, 1n, 0x0a00_0002_0000_0000n],
    ['TDX_FEATURES0', TDX_FEATURES0, 0x2e1f_0fbfn, 0xa000_0003_0000_0000n],
    ['GUEST_L2_GPA_ATTR_MASK', 0xa200_0001_0000_0000n, 0x807fn, NONE],
  ])('reads %s and names the next field', async (_, id, r8, rdx) => {
    expect(await result({}, tdcall(SYS_RD, { rdx: id }), 'r8', 'rdx')).toEqual({ status: 'TDX_SUCCESS', r8, rdx });
  });

  it('names the first field when asked for -1', async () => {
    expect(await result({}, tdcall(SYS_RD, { rdx: NONE }), 'rdx')).toMatchObject({ rdx: VENDOR_ID });
  });

  it('keeps what is for hosts, and knows what its version knows', async () => {
    const maxVcpus = 0x9900_0001_0000_0008n;
    const read = (version: string) => result({ version }, tdcall(SYS_RD, { rdx: maxVcpus }), 'rdx', 'r8');
    const rest = { rdx: NONE, r8: 0n };
    expect(await read('1.5.06')).toEqual({
      status: 'TDX_METADATA_FIELD_NOT_READABLE',
      rule: 'module.metadata.guest-readable',
      ...rest,
    });
    expect(await read('1.5.01')).toEqual({
      status: 'TDX_METADATA_FIELD_ID_INCORRECT, operand RAX',
      rule: 'module.metadata.id',
      ...rest,
    });
  });
});

describe('TDG.SYS.RDALL', () => {
  const list = async (r8: bigint) => {
    const td = new RunningTd({ pages: [0x1000n] }, [tdcall(SYS_RDALL, { rdx: 0x1000n, r8 }), LEAVE]);
    await td.enter();
    const bytes = td.bytes(0x1000, 4096).slice();
    const view = new DataView(bytes.buffer);
    const size = view.getUint16(0, true);
    const quads = Array.from({ length: size / 8 - 1 }, (_, i) => view.getBigUint64(8 + 8 * i, true));
    return { ...statusOf(td), size, sequences: view.getUint16(2, true), quads, next: td.cpu.gprs[8] };
  };

  it('writes all fields as a list of sequences', async () => {
    const { status, size, sequences, quads, next } = await list(NONE);
    expect([status, next]).toEqual(['TDX_SUCCESS', NONE]);
    // VENDOR_ID, MINOR and MAJOR, 3 of the features, migration, its 4 versions, L2.
    expect(sequences).toBe(8);
    expect(size).toBe(8 + 8 * (8 + 12));
    expect(quads.slice(0, 5)).toEqual([VENDOR_ID, 0x8086n, 0x0800_0041_0000_0003n, 5n, 1n]);
  });

  it('starts with the field that it is asked for', async () => {
    expect((await list(TDX_FEATURES0)).quads.slice(0, 2)).toEqual([TDX_FEATURES0, 0x2e1f_0fbfn]);
  });

  it.each([
    ['an address that is not a page', { rdx: 0x1008n, r8: NONE }, 'module.operand.alignment'],
    ['shared memory', { rdx: (1n << 47n) + 0x1000n, r8: NONE }, 'module.operand.gpa'],
    ['a field that does not exist', { rdx: 0x1000n, r8: 0x0800_0002_0000_0fffn }, 'module.metadata.id'],
    ['a field of another size', { rdx: 0x1000n, r8: VENDOR_ID | (1n << 32n) }, 'module.metadata.id'],
  ])('refuses %s', async (_, registers, rule) => {
    expect((await result({ pages: [0x1000n] }, tdcall(SYS_RDALL, registers))).rule).toBe(rule);
  });
});
