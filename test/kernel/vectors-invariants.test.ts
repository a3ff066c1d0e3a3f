import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { profileOf, type Step, StepRunner } from '../../src/vectors/ioctl-steps.js';
import { readCases } from '../vectors/read.js';

const runnerFor = (profile: string, host?: object) => new StepRunner(profileOf(loadPlatform(profile), '1.5.05', host));

describe('closing', () => {
  it('gives every page and KeyID back whatever happened before, dead VMs and failed SEAMCALLs included', () => {
    const leaks: string[] = [];
    for (const { id, profile, host, steps } of readCases('ioctl/lifecycle.jsonl.gz')) {
      const runner = runnerFor(profile, host);
      for (const step of steps as Step[]) runner.run(step);
      runner.close();
      const { vms, vcpus, keyIdsInUse, pagesAllocated } = runner.host.stats();
      if (vms + vcpus + keyIdsInUse + pagesAllocated > 0) leaks.push(id);
    }
    expect(leaks).toEqual([]);
  });
});

describe('a pending signal', () => {
  const { steps } = readCases('ioctl/lifecycle.jsonl.gz').find(({ id }) => id === 'lc0255');
  const region = { gpa: '0x100000', nr_pages: 2 };
  const add = { op: 'tdx', vcpu: 0, id: 3, flags: 1, region };

  it('ends KVM_TDX_INIT_MEM_REGION with EINTR before the next page, and the structure says what is left', () => {
    const runner = runnerFor('spr');
    for (const step of (steps as Step[]).filter(({ op, id }) => op !== 'tdx' || id < 3)) runner.run(step);
    runner.run({ op: 'signal', pending: 1 });
    expect(runner.run(add)).toMatchObject({
      ret: -1,
      errno: 'EINTR',
      region: { source_delta: '0x0', gpa: '0x100000', nr_pages: 2n },
    });
    runner.run({ op: 'signal', pending: 0 });
    expect(runner.run(add)).toMatchObject({ ret: 0, region: { gpa: '0x102000', nr_pages: 0n } });
    runner.close();
  });
});
