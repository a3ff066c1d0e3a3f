import { describe, expect, it } from 'vitest';
import { type LearnResult, LearnStateError, learnCpuid } from '../../src/learn/index.js';
import { type Fault, mockHostOf } from '../../src/mock/index.js';
import { leftovers, NOTHING_LEFT, openHost } from './hosts.js';

const PROFILE = 'spr-1.5.06';
const whole = (async () => {
  using system = openHost(PROFILE);
  return await learnCpuid(system);
})();

async function learnOn(faults: readonly Fault[], options: Parameters<typeof learnCpuid>[1] = {}): Promise<LearnResult> {
  using system = openHost(PROFILE, faults);
  const result = await learnCpuid(system, options);
  expect(leftovers(system)).toEqual(NOTHING_LEFT);
  return result;
}

/** As it comes back from a file. */
const saved = (state: unknown): unknown => JSON.parse(JSON.stringify(state));

describe('a run that is stopped', () => {
  it.each([11, 47, 130])('after every %i TDs and resumed learns the same', async (maxTds) => {
    let state: unknown;
    let runs = 0;
    let tds = 0;
    for (; ; runs++) {
      const result = await learnOn([], { maxTds, ...(state !== undefined && { state }) });
      tds += result.tds;
      state = saved(result.state);
      if (result.document) {
        expect(result.document).toEqual((await whole).document);
        break;
      }
      expect(result.stopped).toBe('max-tds');
      expect(result.tds).toBe(maxTds);
    }
    expect(tds).toBe((await whole).tds);
    expect(runs).toBe(Math.ceil((await whole).tds / maxTds) - 1);
  });

  it('by its signal stops after the TD at hand, and loses none', async () => {
    const abort = new AbortController();
    const onProgress = ({ tds }: { tds: number }) => tds === 77 && abort.abort('enough');
    const first = await learnOn([], { signal: abort.signal, onProgress });
    expect(first).toMatchObject({ stopped: 'aborted', error: { name: 'AbortError', cause: 'enough' } });
    expect(first.state.experiments).toHaveLength(77);
    const second = await learnOn([], { state: first.state });
    expect(second.document).toEqual((await whole).document);
    expect(first.state.experiments, 'the state that was passed in is not changed').toHaveLength(77);
  });

  it('by the clock says so', async () => {
    expect(await learnOn([], { maxMs: 0 })).toMatchObject({ stopped: 'max-ms' });
  });

  it('that was finished gives its document again without a TD', async () => {
    const again = await learnOn([], { state: saved((await whole).state) });
    expect(again.tds).toBe(0);
    expect(again.document).toEqual((await whole).document);
  });
});

describe('a state', () => {
  it.each([
    ['that is no object', 'x', 'expected an object'],
    ['of something else', { known: 'learnt' }, 'known is "learnt", expected "experiments"'],
    ['of another format', { known: 'experiments', format: 2 }, 'format is 2, expected 1'],
  ])('%s is refused', async (_, state, message) => {
    using system = openHost(PROFILE);
    await expect(learnCpuid(system, { state })).rejects.toThrow(message);
    await expect(learnCpuid(system, { state })).rejects.toBeInstanceOf(LearnStateError);
  });

  it('of another host is refused', async () => {
    using system = openHost('gnr-1.5.06');
    await expect(learnCpuid(system, { state: (await whole).state })).rejects.toThrow('other TDX capabilities');
  });

  it('with a broken experiment is refused, with its number', async () => {
    using system = openHost(PROFILE);
    const state = structuredClone((await whole).state);
    state.experiments[3] = { given: 'x', shown: { '7.0': 'zz' } };
    await expect(learnCpuid(system, { state })).rejects.toThrow("experiments[3].shown['7.0']");
    state.experiments[3] = { given: 'x', refused: 'EINVAL' };
    await expect(learnCpuid(system, { state })).rejects.toThrow('experiments[3] is not the one that comes next');
  });
});

describe('a host that fails now and then', () => {
  const faults: [string, Fault[], number][] = [
    ['EAGAIN of KVM_TDX_INIT_VM', [{ request: 'KVM_TDX_INIT_VM', nth: 5, times: 3, errno: 'EAGAIN' }], 3],
    ['no KeyID, ENOSPC', [{ request: 'KVM_TDX_INIT_VM', nth: 40, times: 4, errno: 'ENOSPC' }], 4],
    ['a full cgroup, EBUSY', [{ request: 'KVM_TDX_INIT_VM', nth: 120, times: 2, errno: 'EBUSY' }], 2],
    [
      'no entropy in the module',
      [{ request: 'KVM_TDX_INIT_VM', nth: 60, times: 10, seamcall: 'TDH.MNG.CREATE', status: 'TDX_RND_NO_ENTROPY' }],
      1,
    ],
    ['no memory for a vCPU', [{ request: 'KVM_CREATE_VCPU', nth: 9, errno: 'ENOMEM' }], 1],
    ['no memory for a VM', [{ request: 'KVM_CREATE_VM', nth: 20, errno: 'ENOMEM' }], 1],
    ['an accident in the module, EIO', [{ request: 'KVM_TDX_INIT_VM', nth: 110, errno: 'EIO' }], 0],
    [
      'a busy module while CPUID is read',
      [{ request: 'KVM_TDX_GET_CPUID', nth: 50, times: 3, skip: 40, status: 'TDX_OPERAND_BUSY' }],
      0,
    ],
  ];
  it.each(faults)('by %s is survived, and nothing learnt wrongly', async (_, some, retries) => {
    const result = await learnOn(some);
    expect(result.document).toEqual((await whole).document);
    expect(result.retries).toBe(retries);
  });

  it('survives all of it together', async () => {
    const result = await learnOn(faults.flatMap(([, some]) => some));
    expect(result.document).toEqual((await whole).document);
  });

  it('for good stops the run, which can be resumed', async () => {
    const first = await learnOn([{ request: 'KVM_TDX_INIT_VM', nth: 50, times: 1000, errno: 'ENOSPC' }], {
      maxTries: 3,
    });
    expect(first).toMatchObject({ stopped: 'error', error: { code: 'ENOSPC', request: 'KVM_TDX_INIT_VM' } });
    expect(first.state.experiments).toHaveLength(49);
    expect((await learnOn([], { state: first.state })).document).toEqual((await whole).document);
  });

  it('in a way that no retry helps against stops the run at once', async () => {
    const first = await learnOn([{ request: 'KVM_CREATE_VCPU', nth: 4, errno: 'EPERM' }]);
    expect(first).toMatchObject({ stopped: 'error', error: { code: 'EPERM' }, retries: 0 });
  });
});

it('never holds more than one KeyID', async () => {
  using system = openHost(PROFILE);
  const host = mockHostOf(system)!;
  let most = 0;
  const alloc = host.keyIds.alloc.bind(host.keyIds);
  host.keyIds.alloc = () => {
    const id = alloc();
    most = Math.max(most, host.keyIds.inUse);
    return id;
  };
  await learnCpuid(system, { maxTds: 60 });
  expect(most).toBe(1);
});
