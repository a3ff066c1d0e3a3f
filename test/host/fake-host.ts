import { found, type HostReaders, missing } from '../../src/host/readers.js';
import type { KvmSystem } from '../../src/kvm/index.js';

export interface FakeHost {
  platform?: string;
  arch?: string;
  /** Paths that exist; others give ENOENT. */
  files?: Record<string, string>;
  /** errno of a path. */
  errors?: Record<string, string>;
  log?: string;
  /** Register to value, or the errno's name. */
  msr?: Record<number, bigint | string>;
  vmTypes?: number;
  addon?: string;
  /** What KVM_TDX_CAPABILITIES does; default: answers with two leaves. */
  capabilities?: () => never;
}

const leaf = { index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0 };

const kvmOf = ({ vmTypes = 0, capabilities }: FakeHost): KvmSystem => {
  const vm = {
    tdx: {
      capabilities:
        capabilities ??
        (() => ({
          cpuid: [
            { ...leaf, function: 1 },
            { ...leaf, function: 4 },
          ],
        })),
    },
    checkExtension: () => 8,
    close: () => {},
  };
  return { checkExtension: () => vmTypes, createVm: () => vm, close: () => {}, closed: false } as unknown as KvmSystem;
};

/** A host that has what is given and nothing else. */
export function fakeHost(host: FakeHost): HostReaders {
  const system = kvmOf(host);
  return {
    subject: 'a host in a test',
    platform: host.platform ?? 'linux',
    arch: host.arch ?? 'x64',
    file: (path) => {
      const error = host.errors?.[path];
      if (error) return missing(error, `${error}: ${path}`);
      const text = host.files?.[path];
      return text === undefined ? missing('ENOENT', `ENOENT: ${path}`) : found(text);
    },
    writable: (path) => {
      const error = host.errors?.[path] ?? (host.files?.[path] === undefined ? 'ENOENT' : undefined);
      return error ? missing(error, `${error}: ${path}`) : found(true as const);
    },
    kernelLog: () => (host.log === undefined ? missing('EPERM', 'operation not permitted') : found(host.log)),
    cpuid: () => missing('ENOADDON', 'no addon'),
    msr: (index) => {
      const value = host.msr?.[index] ?? 'ENOENT';
      return typeof value === 'bigint' ? found(value) : missing(value, `${value}: /dev/cpu/0/msr`);
    },
    addon: () => (host.addon === undefined ? missing('ENOADDON', 'not built') : found(host.addon)),
    kvm: () => (host.addon === undefined ? missing('ENOADDON', 'no addon to ask with') : found(system)),
    close: () => {},
  };
}

const FLAGS = 'fpu vmx ss xsave movdir64b tdx_host_platform';

export const cpuinfo = (vendor = 'GenuineIntel', flags = FLAGS, model = 'INTEL(R) XEON(R)'): string =>
  `processor\t: 0\nvendor_id\t: ${vendor}\nmodel name\t: ${model}\nflags\t\t: ${flags}\n\nprocessor\t: 1\n`;

/** A host on which everything is as it should be. */
export const READY_HOST: FakeHost = {
  files: {
    '/proc/cpuinfo': cpuinfo(),
    '/proc/sys/kernel/osrelease': '6.16.1',
    '/sys/power/state': 'freeze mem',
    '/sys/devices/faux/tdx_host/version': '1.5.16',
    '/sys/module/kvm_intel/parameters/ept': 'Y',
    '/sys/module/kvm_intel/parameters/eptad': 'Y',
    '/sys/module/kvm_intel/parameters/enable_apicv': 'Y',
    '/sys/module/kvm_intel/parameters/tdx': 'Y',
    '/sys/module/kvm/parameters/tdp_mmu': 'Y',
    '/sys/module/kvm/parameters/mmio_caching': 'Y',
    '/sys/module/kvm/parameters/enable_virt_at_load': 'Y',
    '/sys/fs/cgroup/misc.capacity': 'tdx 31',
    '/sys/fs/cgroup/misc.current': 'tdx 2',
    '/dev/kvm': '',
  },
  log: [
    'virt/tdx: BIOS enabled: private KeyID range [64, 128)',
    'virt/tdx: 1050644 KB allocated for PAMT',
    'virt/tdx: module initialized',
  ].join('\n'),
  msr: { 2434: 0x3005680000003n, 135: 0x200000001fn, 5121: 0xffffff8000c00n, 160: 0n },
  vmTypes: 0x21,
  addon: 'build/Release/kvm_tdx.node',
};

/** The ready host with some of it changed. */
export const but = (change: FakeHost): FakeHost => ({
  ...READY_HOST,
  ...change,
  files: { ...READY_HOST.files, ...change.files },
  msr: { ...READY_HOST.msr, ...change.msr },
});
