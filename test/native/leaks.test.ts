import { expect, it } from 'vitest';
import { describeOnKernel } from '../contract/backends.js';
import { runChild } from './child.js';

const CYCLES = 10_000;
const MIB = 1 << 20;

describeOnKernel('what is closed is gone', () => {
  it(`${CYCLES} VMs with memory and a vCPU leave no descriptor, no thread, no mapping and no memory`, async () => {
    const ended = await runChild('native/children/cycles.mjs', [String(CYCLES)], ['--expose-gc']);
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    const { rss, mappings, ...exact } = JSON.parse(ended.stdout);
    expect(exact).toEqual({ descriptors: 0, threads: 0 });
    // The allocators' own; a leak of one mapping, or one page, a cycle would be 9,000 of them.
    expect(mappings).toBeLessThan(100);
    expect(rss).toBeLessThan(16 * MIB);
  });
});

describeOnKernel('what is forgotten is closed by the garbage collector', () => {
  it('with one process warning, and not as long as any part of it is held', async () => {
    const ended = await runChild('native/children/forgotten.mjs', [], ['--expose-gc', '--no-warnings']);
    expect([ended.code, ended.stderr]).toEqual([0, '']);
    expect(JSON.parse(ended.stdout)).toEqual({
      most: 150, // system, VM and vCPU of each
      left: 3,
      stillUsable: true,
      warnings: [
        {
          name: 'KvmWarning',
          code: 'KVM_WARN_GC_CLOSE',
          message: expect.stringMatching(/garbage collected without close/),
        },
      ],
    });
  });

  it('but never while it runs', async () => {
    const ended = await runChild('native/children/running-forgotten.mjs', [], ['--expose-gc', '--no-warnings']);
    expect([ended.code, ended.stdout, ended.stderr]).toEqual([0, 'AbortError done\n', '']);
  });
});
