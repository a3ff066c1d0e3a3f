import { describe, expect, it } from 'vitest';
import { guestCpuid, loadRules } from '../../src/cpuid/index.js';
import { bootModule } from '../../src/mock/module/boot.js';
import { initTd } from '../../src/mock/module/mng-init.js';
import { loadPlatform } from '../../src/mock/platforms.js';

describe('a guest that clears TSX in IA32_TSX_CTRL', () => {
  it('sees neither HLE nor RTM', () => {
    const boot = bootModule(loadRules('1.5.06'), loadPlatform('spr'));
    if (!boot.ok) throw new Error(boot.rule);
    const params = new Uint8Array(1024);
    // XFAM x87 and SSE, one vCPU, 4-level EPT, 1 GHz; CPUID_CONFIG[5].EBX: HLE and RTM.
    params[8] = 3;
    params[16] = 1;
    params[24] = 0x1e;
    params[40] = 40;
    new DataView(params.buffer).setUint32(256 + 5 * 16 + 4, (1 << 4) | (1 << 11), true);
    const td = initTd(boot.module, params, 6).td!;
    const state = { cr4: 0n, xcr0: 1n, xss: 0n, tdCtls: 0n, vcpuIndex: 0, x2apicId: 0, longMode: true };
    const tsx = (tsxCpuidClear: boolean): number =>
      guestCpuid(boot.module.host, td.registers, { ...state, tsxCpuidClear }, 7, 0)![1] & 0x810;
    expect([tsx(false), tsx(true)]).toEqual([0x810, 0]);
  });
});
