import { describe, expect, it } from 'vitest';
import { bundledVersions, loadRules, sampleHost } from '../../src/cpuid/index.js';
import { compareLearnt, learnCpuid } from '../../src/learn/index.js';
import { loadProfile, openMock } from '../../src/mock/index.js';
import { bundledPlatforms, loadPlatform } from '../../src/mock/platforms.js';

// Linux 6.16 cannot use 1.5.01 (no MAX_VCPUS_PER_TD), so nothing can be learnt of it.
const versions = bundledVersions().filter((version) => version !== '1.5.01');
const hosts = bundledPlatforms().flatMap((platform) => versions.map((version) => [platform, version] as const));

describe('the rules of every bundled module on every bundled platform', () => {
  it.each(hosts)('%s with %s: learnt back without a contradiction, in fewer than 300 TDs', async (name, version) => {
    const platform = loadPlatform(name);
    const profile = { ...loadProfile('spr-1.5.06'), name: `${name}-${version}`, platform, module: { version } };
    using system = openMock({ profile });
    const { document, tds } = await learnCpuid(system);
    expect(compareLearnt(document!, sampleHost(loadRules(version), platform))).toEqual([]);
    expect(tds).toBeLessThan(300);
  });
});
