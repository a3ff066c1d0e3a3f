// Learning the CPUID rules of a host: TDs and seconds, on every bundled profile that Linux can make TDs on.
import { KvmError, learnCpuid, listProfiles, openKvm } from '../dist/index.js';
import { report } from './common.mjs';

for (const profile of listProfiles()) {
  const system = openKvm({ backend: 'mock', profile });
  try {
    const start = performance.now();
    const { tds } = await learnCpuid(system);
    const seconds = (performance.now() - start) / 1000;
    report(`CPUID rules learnt from ${profile}`, {
      ours: tds,
      unit: `TDs, ${seconds.toFixed(2)} s`,
      aim: 'under 300 TDs',
    });
  } catch (error) {
    // A module that Linux cannot use.
    if (!(error instanceof KvmError) || error.code !== 'EINVAL') throw error;
  } finally {
    system.close();
  }
}
