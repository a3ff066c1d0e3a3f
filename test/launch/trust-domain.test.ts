import { existsSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bundledImage,
  type Fault,
  KvmError,
  type LaunchStep,
  listProfiles,
  loadImageFile,
  measureTd,
  mockHostOf,
  mockMrtd,
  openKvm,
  TdConfigError,
  type TdImage,
  TdLaunchError,
  TrustDomain,
} from '../../src/index.js';

const OVMF = '/usr/share/ovmf/OVMF.fd';

const model = (faults: readonly Fault[] = []) => openKvm({ backend: 'mock', faults });

const NOTHING = { vms: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 };

const modelMrtd = (td: TrustDomain): string => Buffer.from(mockMrtd(td.vm)!).toString('hex');

/** Launches and gives the error, having checked that nothing is left behind. */
async function refusal(
  config: Parameters<typeof TrustDomain.create>[1],
  faults: readonly Fault[] = [],
): Promise<unknown> {
  using system = model(faults);
  const error = await TrustDomain.create(system, config).then(
    () => undefined,
    (reason) => reason,
  );
  expect(mockHostOf(system)!.stats()).toMatchObject(NOTHING);
  return error;
}

describe('a launch', () => {
  it('ends with a finalised TD whose measurement in the module is the one computed offline', async () => {
    using system = model();
    using td = await TrustDomain.create(system, {});
    expect(td.state).toBe('finalized');
    expect(td.mrtd).toBe(measureTd(bundledImage()).mrtd);
    expect(modelMrtd(td)).toBe(td.mrtd);
  });

  it.skipIf(!existsSync(OVMF))(`builds Debian's firmware (skipped without ${OVMF})`, async () => {
    using system = model();
    const image = loadImageFile(OVMF);
    using td = await TrustDomain.create(system, { memory: '2GiB', vcpus: 4 }, { image });
    expect(td.mrtd).toBe(measureTd(image).mrtd);
    expect(modelMrtd(td)).toBe(td.mrtd);
    expect(td.vcpus).toHaveLength(4);
  });

  it.each(listProfiles().filter((name) => !name.includes('1.5.01')))(
    'works with the defaults on %s',
    async (profile) => {
      using system = openKvm({ backend: 'mock', profile });
      using td = await TrustDomain.create(system, {});
      expect(modelMrtd(td)).toBe(td.mrtd);
    },
  );

  it('issues the requests in the order of the kernel contract', async () => {
    using system = model();
    const requests: string[] = [];
    const steps: LaunchStep[] = [];
    const onStep = (step: LaunchStep) => {
      steps.push(step);
      if (requests.at(-1) !== step.request) requests.push(step.request);
    };
    using td = await TrustDomain.create(system, { vcpus: 2 }, { onStep });
    expect(td.vcpus.map(({ id }) => id)).toEqual([0, 1]);
    expect(requests).toEqual([
      'KVM_TDX_CAPABILITIES',
      'KVM_CREATE_VM',
      'KVM_CAP_MAX_VCPUS',
      'KVM_ENABLE_CAP',
      'KVM_SET_TSC_KHZ',
      'KVM_TDX_INIT_VM',
      'KVM_CREATE_VCPU',
      'KVM_TDX_GET_CPUID',
      'KVM_SET_CPUID2',
      'KVM_SET_USER_MEMORY_REGION2',
      'KVM_TDX_INIT_VCPU',
      'KVM_TDX_INIT_MEM_REGION',
      'KVM_TDX_FINALIZE_VM',
    ]);
    expect(steps.every(({ durationMs }) => durationMs >= 0)).toBe(true);
    const added = steps.filter(({ progress }) => progress && progress.done === progress.total);
    expect(added.reduce((sum, { progress }) => sum + progress!.total, 0)).toBe(measureTd(bundledImage()).pages);
  });

  it('measures what was added, whatever the pages and their order', async () => {
    const region = fc.record({
      page: fc.nat(31),
      pages: fc.integer({ min: 1, max: 3 }),
      measure: fc.boolean(),
      fill: fc.nat(255),
    });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(region, { selector: ({ page }) => page, maxLength: 5 }), async (list) => {
        const image: TdImage = {
          kind: 'pages',
          name: 'generated',
          regions: list.map(({ page, pages, measure, fill }) => ({
            name: `at ${page}`,
            // Regions of at most 3 pages, 4 pages apart, do not overlap.
            gpa: BigInt(page * 4 * 4096),
            size: pages * 4096,
            data: new Uint8Array(pages * 4096 - 7).fill(fill),
            measure,
            add: true,
          })),
        };
        using system = model();
        using td = await TrustDomain.create(system, { memory: '1MiB' }, { image });
        expect(modelMrtd(td)).toBe(td.mrtd);
      }),
      { numRuns: 30 },
    );
  });
});

describe('a launch that meets a passing failure goes on', () => {
  it.each<Fault>([
    { request: 'KVM_TDX_INIT_VM', nth: 1, times: 3, errno: 'EAGAIN' },
    { request: 'KVM_TDX_INIT_VM', nth: 1, times: 10, status: 'TDX_RND_NO_ENTROPY', seamcall: 'TDH.MNG.CREATE' },
    { request: 'KVM_TDX_INIT_MEM_REGION', nth: 1, errno: 'EINTR', skip: 3 },
    { request: 'KVM_TDX_INIT_MEM_REGION', nth: 2, errno: 'EAGAIN' },
    { request: 'KVM_TDX_FINALIZE_VM', nth: 1, status: 'TDX_OPERAND_BUSY' },
  ])('$request, $errno$status', async (fault) => {
    using system = model([fault]);
    using td = await TrustDomain.create(system, {});
    expect(modelMrtd(td)).toBe(measureTd(bundledImage()).mrtd);
  });
});

describe('a launch that is refused', () => {
  it.each(['KVM_CREATE_VM', 'KVM_CREATE_VCPU', 'KVM_SET_CPUID2', 'KVM_CREATE_GUEST_MEMFD', 'KVM_TDX_INIT_VCPU'])(
    'at %s names the step and leaves nothing behind',
    async (request) => {
      // The first VM only answers what the host can do; the TD is the second.
      const error = await refusal({}, [{ request, nth: request === 'KVM_CREATE_VM' ? 2 : 1, errno: 'ENOMEM' }]);
      expect(error).toBeInstanceOf(TdLaunchError);
      expect(error).toMatchObject({ request, cause: { code: 'ENOMEM' } });
      expect((error as Error).message).toContain(`ENOMEM: cannot allocate memory, ioctl(${request})`);
    },
  );

  it('for its configuration says everything that is wrong, before there is a TD', async () => {
    const error = await refusal({ xfam: ['OPMASK'], tscKhz: 99_000, vcpus: 9 });
    expect(error).toBeInstanceOf(TdConfigError);
    const rules = (error as TdConfigError).findings
      .filter(({ severity }) => severity === 'error')
      .map(({ rule }) => rule);
    expect(rules).toEqual(expect.arrayContaining(['module.mng-init.xfam-avx512', 'module.mng-init.tsc-frequency']));
  });

  it('by the module for a CPUID value names the leaf and the bits, which KVM does not', async () => {
    // The kernel shows no stepping that every package has: this one is a warning of the validator, and the module's to refuse.
    const error = await refusal({ cpuid: [{ leaf: 1, eax: 0x0008_06f7 }] });
    expect(error).toBeInstanceOf(TdLaunchError);
    const { diagnosis, cause } = error as TdLaunchError;
    expect(cause.tdxStatus).toMatchObject({ name: 'TDX_OPERAND_INVALID', operand: 'CPUID_CONFIG' });
    expect(diagnosis!.culprits).toMatchObject([{ leaf: 1, subleaf: 0, register: 'eax' }]);
    expect(diagnosis!.findings[0]!.rule).toBe('module.mng-init.fms');
  });

  it('for want of a KeyID says so', async () => {
    using system = model();
    const host = mockHostOf(system)!;
    const tds: TrustDomain[] = [];
    const error = await (async () => {
      for (;;) tds.push(await TrustDomain.create(system, { memory: '1MiB' }));
    })().catch((reason) => reason);
    expect(error).toMatchObject({
      cause: { code: 'ENOSPC' },
      diagnosis: { findings: [{ rule: 'kvm.init-vm.keyid' }] },
    });
    expect(tds).toHaveLength(31);
    for (const td of tds) td.close();
    expect(host.stats()).toMatchObject(NOTHING);
  });

  it('by an abort ends with its reason and closes what there was', async () => {
    using system = model();
    const abort = new AbortController();
    const reason = new Error('enough');
    const onStep = ({ request }: LaunchStep) => request === 'KVM_TDX_INIT_MEM_REGION' && abort.abort(reason);
    await expect(TrustDomain.create(system, {}, { signal: abort.signal, onStep })).rejects.toBe(reason);
    expect(mockHostOf(system)!.stats()).toMatchObject(NOTHING);
  });

  it('for an image across the end of the memory says which region', async () => {
    using system = model();
    const data = new Uint8Array(8192);
    const regions = [{ name: 'payload', gpa: 0xf_f000n, size: 8192, data, measure: true, add: true }];
    const image: TdImage = { kind: 'pages', name: 'across', regions };
    await expect(TrustDomain.create(system, { memory: '1MiB' }, { image })).rejects.toThrow(
      /payload \(0xff000 to 0x101000\)/,
    );
  });
});

describe('a TD', () => {
  it('is closed once and for all', async () => {
    using system = model();
    const td = await TrustDomain.create(system, {});
    td.close();
    td.close();
    expect(td.state).toBe('closed');
    expect(() => td.vcpus[0]!.tdx.getCpuid()).toThrow(/closed/);
  });

  it('a hundred at a time live in one process, and closing returns everything', async () => {
    // A host has 31 KeyIDs for TDs.
    const systems = Array.from({ length: 4 }, () => model());
    const launch = (_: unknown, i: number) => TrustDomain.create(systems[i % 4]!, { memory: '64MiB' });
    const tds = await Promise.all(Array.from({ length: 100 }, launch));
    expect(new Set(tds.map(modelMrtd)).size).toBe(1);
    for (const system of systems) expect(mockHostOf(system)!.stats()).toMatchObject({ vms: 25, keyIdsInUse: 25 });
    for (const td of tds) td.close();
    for (const system of systems) {
      expect(mockHostOf(system)!.stats()).toMatchObject(NOTHING);
      system.close();
    }
  });

  it('after KVM_TDX_FINALIZE_VM refuses what would change its measurement', async () => {
    using system = model();
    using td = await TrustDomain.create(system, {});
    using memory = system.createMemory(4096);
    const add = () =>
      td.vcpus[0]!.tdx.initMemRegion({ source: memory, sourceOffset: 0, gpa: 0n, nrPages: 1, measure: true });
    expect(add).toThrow(KvmError);
    expect(modelMrtd(td)).toBe(td.mrtd);
  });
});
