import { describe, expect, it } from 'vitest';
import { type CheckResult, runCheck } from '../../src/host/check.js';
import { CHECKS, checkHost } from '../../src/host/report.js';
import { but, cpuinfo, type FakeHost, fakeHost, READY_HOST } from './fake-host.js';

const ask = (id: string, host: FakeHost): CheckResult => {
  const check = CHECKS.find((candidate) => candidate.id === id);
  if (!check) throw new Error(`no check ${id}`);
  return runCheck(check, fakeHost(host));
};

const without = (...paths: string[]): FakeHost => {
  const files = Object.fromEntries(Object.entries(READY_HOST.files!).filter(([path]) => !paths.includes(path)));
  return { ...READY_HOST, files };
};

describe('a host on which everything is right', () => {
  const report = checkHost(fakeHost(READY_HOST));

  it('passes every check and is ready', () => {
    expect(report.checks.filter(({ status }) => status !== 'pass')).toEqual([]);
    expect(report.ready).toBe(true);
    expect(report.firstFailure).toBeUndefined();
  });

  it('is asked from the machine up to KVM, each check with an id of its own', () => {
    const categories = report.checks.map(({ category }) => category);
    expect([...new Set(categories)]).toEqual(['machine', 'processor', 'firmware', 'kernel', 'module', 'kvm']);
    expect(new Set(report.checks.map(({ id }) => id)).size).toBe(report.checks.length);
  });
});

// One line a check: what is wrong with the host, the check that notices, its status, its detail, its fix.
const CASES: [string, FakeHost, string, CheckResult['status'], RegExp, RegExp?][] = [
  [
    'another system',
    but({ platform: 'darwin', arch: 'arm64' }),
    'machine.linux',
    'fail',
    /darwin on arm64/,
    /--backend mock/,
  ],
  [
    'an AMD processor',
    but({ files: { '/proc/cpuinfo': cpuinfo('AuthenticAMD', 'svm', 'EPYC') } }),
    'processor.intel',
    'fail',
    /AuthenticAMD, EPYC/,
    /Xeon/,
  ],
  ['no /proc/cpuinfo', without('/proc/cpuinfo'), 'processor.intel', 'skip', /ENOENT/],
  [
    'VT-x off',
    but({ files: { '/proc/cpuinfo': cpuinfo(undefined, 'fpu') } }),
    'processor.vmx',
    'fail',
    /vmx/,
    /firmware setup/,
  ],
  [
    'a virtual machine',
    but({ files: { '/proc/cpuinfo': cpuinfo(undefined, 'vmx hypervisor') } }),
    'processor.bare-metal',
    'warn',
    /virtual machine/,
    /machine itself/,
  ],
  [
    'an old processor',
    but({ files: { '/proc/cpuinfo': cpuinfo(undefined, 'vmx xsave') } }),
    'processor.instructions',
    'fail',
    /missing: MOVDIR64B, self-snoop/,
    /processor with TDX/,
  ],
  ['TME off', but({ msr: { 2434: 1n } }), 'firmware.tme', 'fail', /0x1, bit 1 is clear/, /Memory Encryption/],
  ['no msr driver', but({ msr: { 2434: 'ENOENT' } }), 'firmware.tme', 'skip', /modprobe msr/],
  ['an ordinary user', but({ msr: { 2434: 'EACCES' } }), 'firmware.tme', 'skip', /run as root/],
  ['a processor without TME', but({ msr: { 2434: 'EIO' } }), 'firmware.tme', 'fail', /no such register/, /TME/],
  [
    'one KeyID',
    but({ msr: { 135: 0x1_0000_003fn } }),
    'firmware.keyids',
    'fail',
    /^1, and TDX needs two \(MSR 0x87\)/,
    /key split/,
  ],
  [
    'KeyIDs known by the log',
    but({ msr: { 135: 'EACCES' } }),
    'firmware.keyids',
    'pass',
    /^64, .*63 TDs at a time \(kernel log\)/,
  ],
  ['KeyIDs unknown', but({ msr: { 135: 'EACCES' }, log: '' }), 'firmware.keyids', 'skip', /run as root/],
  ['no SEAM range', but({ msr: { 5121: 0n } }), 'firmware.seamrr', 'fail', /bit 11 is clear/, /SEAM Loader/],
  ['MCHECK failed', but({ msr: { 160: 0x11n } }), 'firmware.mcheck', 'fail', /0x11/, /microcode/],
  [
    'an older kernel',
    but({ files: { '/proc/sys/kernel/osrelease': '6.8.0-1004-intel' } }),
    'kernel.release',
    'warn',
    /older than 6.16/,
    /6.16 or newer/,
  ],
  ['a newer kernel', but({ files: { '/proc/sys/kernel/osrelease': '7.1.0-rc3' } }), 'kernel.release', 'pass', /7.1.0/],
  [
    'a strange kernel',
    but({ files: { '/proc/sys/kernel/osrelease': 'unknown' } }),
    'kernel.release',
    'skip',
    /unknown/,
  ],
  [
    'hibernation on',
    but({ files: { '/sys/power/state': 'freeze mem disk' } }),
    'kernel.hibernation',
    'fail',
    /offers "disk"/,
    /nohibernate/,
  ],
  ['no power management', without('/sys/power/state'), 'kernel.hibernation', 'pass', /no power management/],
  [
    'a kernel that gave TDX up',
    but({ files: { '/proc/cpuinfo': cpuinfo(undefined, 'vmx') } }),
    'kernel.tdx-platform',
    'fail',
    /tdx_host_platform is missing/,
    /CONFIG_INTEL_TDX_HOST/,
  ],
  ['an unreadable log', { ...READY_HOST, log: undefined as never }, 'kernel.log', 'skip', /dmesg_restrict/],
  ['a log without TDX', but({ log: 'usb 1-1: new device' }), 'kernel.log', 'skip', /no line about TDX/],
  [
    'a kernel that hides the version',
    without('/sys/devices/faux/tdx_host/version'),
    'module.version',
    'skip',
    /6.16 has no way/,
  ],
  [
    'kvm_intel not loaded',
    without('/sys/module/kvm_intel/parameters/ept', '/sys/module/kvm_intel/parameters/tdx'),
    'kvm.intel',
    'fail',
    /missing/,
    /modprobe kvm_intel tdx=1/,
  ],
  [
    'kvm_intel not loaded',
    without('/sys/module/kvm_intel/parameters/ept', '/sys/module/kvm_intel/parameters/tdx'),
    'kvm.tdx-parameter',
    'skip',
    /not loaded/,
  ],
  [
    'kvm_intel.tdx off',
    but({ files: { '/sys/module/kvm_intel/parameters/tdx': 'N' } }),
    'kvm.tdx-parameter',
    'fail',
    /tdx = N/,
    /kvm_intel.tdx=1/,
  ],
  [
    'a kernel without KVM TDX',
    without('/sys/module/kvm_intel/parameters/tdx'),
    'kvm.tdx-parameter',
    'fail',
    /no parameter tdx/,
    /CONFIG_KVM_INTEL_TDX/,
  ],
  [
    'VMX on demand',
    but({ files: { '/sys/module/kvm/parameters/enable_virt_at_load': 'N' } }),
    'kvm.virt-at-load',
    'fail',
    /= N/,
    /enable_virt_at_load=0/,
  ],
  [
    'an older kvm',
    without('/sys/module/kvm/parameters/enable_virt_at_load'),
    'kvm.virt-at-load',
    'skip',
    /no parameter/,
  ],
  [
    'APICv off',
    but({ files: { '/sys/module/kvm_intel/parameters/enable_apicv': 'N' } }),
    'kvm.parameters',
    'fail',
    /off: kvm_intel.enable_apicv$/,
    /Remove the options/,
  ],
  ['no misc cgroup', without('/sys/fs/cgroup/misc.capacity'), 'kvm.cgroup', 'skip', /misc.capacity/],
  [
    'all KeyIDs in use',
    but({ files: { '/sys/fs/cgroup/misc.current': 'tdx 31' } }),
    'kvm.cgroup',
    'warn',
    /ENOSPC/,
    /Close TDs/,
  ],
  ['no /dev/kvm', without('/dev/kvm'), 'kvm.device', 'fail', /does not exist/, /modprobe kvm_intel/],
  [
    '/dev/kvm forbidden',
    { ...READY_HOST, errors: { '/dev/kvm': 'EACCES' } },
    'kvm.device',
    'fail',
    /no permission/,
    /usermod -aG kvm/,
  ],
  ['no addon', { ...READY_HOST, addon: undefined as never }, 'kvm.addon', 'fail', /not built/, /npm run build/],
  ['no addon', { ...READY_HOST, addon: undefined as never }, 'kvm.vm-types', 'skip', /no addon/],
  [
    'the v19 kernels',
    but({ vmTypes: 0x7 }),
    'kvm.vm-types',
    'fail',
    /bit 2, .*before 6.16 \(patch series v19\)/,
    /QEMU must then be 10.1/,
  ],
  [
    'software-protected VMs only',
    but({ vmTypes: 0x3 }),
    'kvm.vm-types',
    'fail',
    /bit 5 is clear; bit 1 is software-protected/,
    /first failure/,
  ],
  [
    'SEV on AMD',
    but({ vmTypes: 0x1d, files: { '/proc/cpuinfo': cpuinfo('AuthenticAMD') } }),
    'kvm.vm-types',
    'fail',
    /0x1d: bit 5 is clear$/,
  ],
  ['no TDs', but({ vmTypes: 1 }), 'kvm.capabilities', 'skip', /no TDs/],
  [
    'capabilities that fail',
    but({
      capabilities: () => {
        throw new Error('EIO: input/output error, ioctl(KVM_TDX_CAPABILITIES)');
      },
    }),
    'kvm.capabilities',
    'fail',
    /EIO/,
    /reload kvm_intel/,
  ],
];

describe.each(CASES)('with %s', (_title, host, id, status, detail, fix) => {
  it(`${id} is a ${status}`, () => {
    const result = ask(id, host);
    expect(result).toMatchObject({ id, status });
    expect(result.detail).toMatch(detail);
    if (fix) expect(result.fix).toMatch(fix);
    if (status === 'pass' || status === 'skip') expect(result.fix).toBeUndefined();
  });
});

it('every check is tried on a host where it does not simply pass', () => {
  const tried = new Set(CASES.filter(([, , , status]) => status !== 'pass').map(([, , id]) => id));
  expect(CHECKS.map(({ id }) => id).filter((id) => !tried.has(id))).toEqual([]);
});

describe('a report', () => {
  it('of a host that is not ready names the failure to begin with', () => {
    const report = checkHost(fakeHost(but({ msr: { 2434: 0n }, vmTypes: 1 })));
    expect(report.ready).toBe(false);
    expect(report.firstFailure?.id).toBe('firmware.tme');
  });

  it('believes KVM over everything else: what fails on a ready host is a warning', () => {
    const report = checkHost(fakeHost(but({ files: { '/sys/power/state': 'disk' } })));
    expect(report.ready).toBe(true);
    expect(report.checks.find(({ id }) => id === 'kernel.hibernation')?.status).toBe('warn');
    expect(report.firstFailure).toBeUndefined();
  });

  it('survives a check that throws', () => {
    const readers = fakeHost(READY_HOST);
    const broken = {
      ...readers,
      writable: () => {
        throw new Error('broken reader');
      },
    };
    expect(checkHost(broken).checks.find(({ id }) => id === 'kvm.device')).toMatchObject({ detail: 'broken reader' });
  });
});
