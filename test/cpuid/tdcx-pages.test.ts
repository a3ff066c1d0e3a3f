import { expect, it } from 'vitest';
import { bundledVersions, loadRules } from '../../src/cpuid/index.js';
import { decodeTdxStatus } from '../../src/kvm/status.js';
import { bootModule } from '../../src/mock/module/boot.js';
import { initTd, TD_PARAMS_SIZE } from '../../src/mock/module/mng-init.js';
import { loadPlatform } from '../../src/mock/platforms.js';

const status = (version: string, tdcxPages: number): string => {
  const boot = bootModule(loadRules(version), loadPlatform('spr'));
  if (!boot.ok) throw new Error(boot.rule);
  // All zeros: XFAM lacks x87 and SSE.
  return decodeTdxStatus(initTd(boot.module, new Uint8Array(TD_PARAMS_SIZE), tdcxPages).status).name;
};

it.each(bundledVersions())('%s misses the first 6 TDCX pages before it looks at TD_PARAMS', (version) => {
  expect(status(version, 5)).toBe('TDX_TDCS_NOT_ALLOCATED');
  expect(status(version, 6)).toBe('TDX_OPERAND_INVALID');
});
