// CPUID: a whole TD by the engine that the model runs, the same with reasons, and one configuration for a thousand hosts.
import { loadRules } from '../dist/cpuid/index.js';
import { baselineCpuid, cpuidHostOf, evaluateCpuid, loadProfile, openKvm } from '../dist/index.js';
import { bootModule } from '../dist/mock/module/boot.js';
import { initTd } from '../dist/mock/module/mng-init.js';
import { best, nsPer, report } from './common.mjs';

const profile = loadProfile('spr-1.5.06');
const boot = bootModule(loadRules('1.5.06'), profile.platform);
const params = new Uint8Array(1024);
const view = new DataView(params.buffer);
view.setBigUint64(8, 0x602e7n, true); // XFAM
view.setUint16(16, 1, true); // MAX_VCPUS
view.setBigUint64(24, 0x1en, true); // EPTP_CONTROLS: write-back, 4 levels
view.setUint16(40, 80, true); // TSC_FREQUENCY

const whole = await best(8, () =>
  nsPer(2000, (n) => {
    for (let i = 0; i < n; i++) initTd(boot.module, params, 6);
  }),
);
report('TD_PARAMS checked, all CPUID of the TD', { ours: whole / 1000, unit: 'us', aim: 'under 50 us' });

const system = openKvm({ backend: 'mock' });
const host = cpuidHostOf(system, { module: '1.5.06', platform: profile.platform });
const reasons = await best(5, () =>
  nsPer(20, (n) => {
    for (let i = 0; i < n; i++) evaluateCpuid(host, { vcpus: 1 }).registers;
  }),
);
report('the same with the origin of every register', { ours: reasons / 1000, unit: 'us' });
system.close();

// A fleet: hosts that differ in the stepping and in features that the host may lack.
const DROPPED = [0, 1 << 4, 1 << 5, 1 << 8];
const fleet = Array.from({ length: 1000 }, (_, i) => {
  const cpuid = profile.platform.cpuid.map((row) =>
    Number(row.leaf) === 7 && Number(row.subleaf) === 1
      ? { ...row, eax: Number(row.eax) & ~DROPPED[i % DROPPED.length] }
      : row,
  );
  return { ...profile, name: `host-${i}`, platform: { ...profile.platform, name: `host-${i}`, cpuid } };
});
const hosts = fleet.map((one) => {
  const kvm = openKvm({ backend: 'mock', profile: one });
  const made = cpuidHostOf(kvm, { name: one.name, module: '1.5.06', platform: one.platform });
  kvm.close();
  return made;
});
const start = performance.now();
const { same } = baselineCpuid(hosts);
report('baseline of 1,000 hosts', {
  ours: (performance.now() - start) / 1000,
  unit: `s (${same ? 'the same everywhere' : 'differences remain'})`,
  aim: 'under 5 s',
});
