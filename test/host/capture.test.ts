import { describe, expect, it } from 'vitest';
import { CaptureError, captureProfile } from '../../src/host/capture.js';
import { modelReaders } from '../../src/host/model-readers.js';
import { readCpuidRows } from '../../src/host/native-cpuid.js';
import { type CpuidRegisters, found, type HostReaders, missing } from '../../src/host/readers.js';
import type { KvmSystem } from '../../src/kvm/index.js';
import { TrustDomain } from '../../src/launch/index.js';
import { listProfiles, loadProfile, openMock, type ProfileDocument } from '../../src/mock/index.js';
import { gatherHostFacts } from '../../src/td/index.js';

const NO_TDX = 'spr-1.5.01';
const profiles = listProfiles().filter((name) => name !== NO_TDX);

const capture = (name: string, change: Partial<HostReaders> = {}): ProfileDocument => {
  const readers = modelReaders(name);
  const system = readers.kvm();
  if (!system.ok) throw new Error(system.reason);
  try {
    return captureProfile(system.value, { ...readers, ...change });
  } finally {
    readers.close();
  }
};

/** As a file would hold it. */
const written = (document: ProfileDocument) => JSON.parse(JSON.stringify(document)) as ProfileDocument;

const extensions = (system: KvmSystem) =>
  Array.from({ length: 260 }, (_, capability) => system.checkExtension(capability));

describe.each(profiles)('the captured profile of a host like %s', (name) => {
  const document = written(capture(name));
  const original = openMock({ profile: name });
  const copy = openMock({ profile: loadProfile(document) });

  it('has the same TDs to offer', () => {
    expect(gatherHostFacts(copy)).toEqual(gatherHostFacts(original));
  });

  it('answers every KVM_CHECK_EXTENSION the same', () => {
    expect(extensions(copy)).toEqual(extensions(original));
  });

  it('gives a TD the same CPUID and measurement', async () => {
    using one = await TrustDomain.create(original, {});
    using two = await TrustDomain.create(copy, {});
    expect(two.differences).toEqual(one.differences);
    expect(two.resolved).toEqual(one.resolved);
    expect(two.mrtd).toBe(one.mrtd);
  });

  it('can be captured again, and is the same', () => {
    const readers = modelReaders(name);
    const again = captureProfile(copy, readers);
    readers.close();
    expect(written(again)).toEqual(document);
  });
});

describe('a capture', () => {
  it('of a host without TDX says why there is nothing', () => {
    expect(() => capture(NO_TDX)).toThrow(CaptureError);
    expect(() => capture(NO_TDX)).toThrow('offers no TDs (KVM_CAP_VM_TYPES is 0x1, bit 5 is clear)');
  });

  it('counts the CPUs that are present and online, also with gaps', () => {
    const files: Record<string, string> = {
      '/sys/devices/system/cpu/present': '0-63',
      '/sys/devices/system/cpu/online': '0-3,8,16-31',
    };
    const file: HostReaders['file'] = (path) => (files[path] ? found(files[path]) : missing('ENOENT', path));
    expect(capture('spr-1.5.06', { file }).kernel).toMatchObject({ presentCpus: 64, onlineCpus: 21 });
  });

  it('of a kernel that tells nothing else still has what KVM says', () => {
    const nothing = () => missing('EACCES', 'permission denied');
    const { kernel, module, platform } = capture('spr-1.5.06', { file: nothing, kernelLog: nothing, msr: nothing });
    expect(kernel).toMatchObject({ release: 'unknown', presentCpus: 8, tscKhz: 2_000_000, vmTypes: 1, tdx: true });
    expect(module).toEqual({});
    expect(platform).toMatchObject({ msr: {} });
  });

  it('takes the module version of the log and the KeyIDs of the cgroup', () => {
    const file: HostReaders['file'] = (path) =>
      path === '/sys/fs/cgroup/misc.capacity' ? found('res_a 50\ntdx 31') : missing('ENOENT', path);
    const kernelLog = () => found('virt/tdx: Module version: 1.5.24');
    const { kernel, module } = capture('spr-1.5.06', { file, kernelLog });
    expect(kernel.keyIds).toBe(31);
    expect(module.version).toBe('1.5.24');
  });

  it('without CPUID is refused with the reason', () => {
    const cpuid = () => missing('ENOADDON', 'no addon to ask with');
    expect(() => capture('spr-1.5.06', { cpuid })).toThrow('CPUID cannot be read: no addon to ask with');
  });
});

describe('the rows of the CPUID instruction', () => {
  const cpuidOf = (table: Record<string, Partial<CpuidRegisters>>) =>
    ({
      cpuid: (leaf: number, subleaf: number) =>
        found({ eax: 0, ebx: 0, ecx: 0, edx: 0, ...table[`${leaf}.${subleaf}`] }),
    }) as HostReaders;

  it('are asked up to the last leaf of each range; zeros are left out', () => {
    const rows = readCpuidRows(
      cpuidOf({
        '0.0': { eax: 2, ebx: 1 },
        '2.0': { eax: 7 },
        '3.0': { eax: 9 },
        '2147483648.0': { eax: 0x8000_0001 },
        '2147483649.0': { edx: 5 },
      }),
    );
    expect(rows.map(({ leaf, subleaf }) => [leaf, subleaf])).toEqual([
      [0, null],
      [2, null],
      [0x8000_0000, null],
      [0x8000_0001, null],
    ]);
  });

  it('have a sub-leaf only where ECX counts', () => {
    const rows = readCpuidRows(
      cpuidOf({ '0.0': { eax: 13 }, '4.0': { eax: 1 }, '4.1': { eax: 2 }, '13.18': { eax: 8192 } }),
    );
    expect(rows.map(({ leaf, subleaf }) => [leaf, subleaf])).toEqual([
      [0, null],
      [4, 0],
      [4, 1],
      [13, 18],
    ]);
  });

  it('end a topology leaf with its last level, although the processor echoes the sub-leaf behind it', () => {
    const level = (n: number, type: number) => ({ ebx: type ? 4 : 0, ecx: (type << 8) | n, edx: 3 });
    const rows = readCpuidRows(
      cpuidOf({
        '0.0': { eax: 31 },
        '31.0': level(0, 1),
        '31.1': level(1, 2),
        '31.2': level(2, 0),
        '31.3': level(3, 0),
      }),
    );
    expect(rows.filter(({ leaf }) => leaf === 31).map(({ subleaf }) => subleaf)).toEqual([0, 1]);
  });
});
