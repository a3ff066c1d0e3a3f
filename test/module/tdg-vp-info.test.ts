import { expect, it } from 'vitest';
import { result, tdcall } from './guest-td.js';

const OUT = ['rcx', 'rdx', 'r8', 'r9', 'r10', 'r11'] as const;

it('TDG.VP.INFO gives GPA width, ATTRIBUTES, numbers of VCPUs, the index of this one, and that TDG.SYS.RD exists', async () => {
  const attributes = 0x1000_0000;
  expect(await result({ attributes, maxVcpus: 8, vcpus: 2 }, tdcall(1, { r11: 1n }), ...OUT)).toEqual({
    status: 'TDX_SUCCESS',
    rcx: 48n,
    rdx: BigInt(attributes),
    r8: (8n << 32n) | 2n,
    r9: 0n,
    r10: 1n,
    r11: 0n,
  });
});
