// The model: how many configurations it validates, TDs it initialises, and TDs it builds, measures and finalises.
import {
  bundledImage,
  gatherHostFacts,
  initVmParams,
  KVM_CAP,
  KVM_X86_TDX_VM,
  openKvm,
  parseTdConfig,
  resolveTd,
  TrustDomain,
  validateTd,
} from '../dist/index.js';
import { best, nsPer, report } from './common.mjs';

const system = openKvm({ backend: 'mock' });
const host = gatherHostFacts(system);
const config = parseTdConfig({ vcpus: 1 });

const validate = await best(5, () =>
  nsPer(200, (n) => {
    for (let i = 0; i < n; i++) validateTd(config, host);
  }),
);
report('configurations validated', { ours: 1e9 / validate, unit: '/s' });

const params = initVmParams(resolveTd(config, host));
const init = await best(5, () =>
  nsPer(100, (n) => {
    for (let i = 0; i < n; i++) {
      const vm = system.createVm(KVM_X86_TDX_VM);
      vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
      vm.tdx.initVm(params);
      vm.close();
    }
  }),
);
report('KVM_TDX_INIT_VM on the model, with its VM', { ours: 1e9 / init, unit: '/s' });

const image = bundledImage();
const launches = await best(5, async () => {
  const start = performance.now();
  for (let i = 0; i < 10; i++) (await TrustDomain.create(system, config, { image })).close();
  return (performance.now() - start) / 10;
});
report('model TDs built, measured and finalised', { ours: 1000 / launches, unit: '/s' });
system.close();
