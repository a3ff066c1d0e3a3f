import { type Check, fail, pass, skip, warn } from '../check.js';
import { INTEL, maybeIntel, readCpuInfo } from '../cpuinfo.js';
import { complaints, recognise } from '../messages.js';
import { readModuleVersion } from '../module-version.js';

/** Linux from which KVM's TDX interface is the one that this library speaks. */
const FIRST_RELEASE = [6, 16] as const;

export const KERNEL_CHECKS: readonly Check[] = [
  {
    id: 'kernel.release',
    name: 'Kernel with KVM TDX',
    category: 'kernel',
    fix: 'Install Linux 6.16 or newer; kernels before it with TDX patches speak another interface.',
    source: 'Linux 6.16: the first release with arch/x86/kvm/vmx/tdx.c complete',
    run: ({ file }) => {
      const release = file('/proc/sys/kernel/osrelease');
      if (!release.ok) return skip(`/proc/sys/kernel/osrelease: ${release.reason}`);
      const [, major, minor] = /^(\d+)\.(\d+)/.exec(release.value) ?? [];
      if (major === undefined) return skip(`not understood: ${release.value}`);
      const older =
        Number(major) < FIRST_RELEASE[0] || (Number(major) === FIRST_RELEASE[0] && Number(minor) < FIRST_RELEASE[1]);
      return older ? warn(`${release.value} is older than 6.16`) : pass(release.value);
    },
  },
  {
    id: 'kernel.hibernation',
    name: 'Hibernation off',
    category: 'kernel',
    fix: 'Add nohibernate to the kernel command line and reboot: the kernel refuses TDX while it can hibernate.',
    source: 'arch/x86/virt/vmx/tdx/tdx.c: tdx_init; kernel/power/main.c: state_show',
    run: (readers) => {
      if (!maybeIntel(readers)) return skip('not an Intel processor');
      const state = readers.file('/sys/power/state');
      if (!state.ok) return state.code === 'ENOENT' ? pass('the kernel has no power management') : skip(state.reason);
      return state.value.split(/\s+/).includes('disk')
        ? fail('/sys/power/state offers "disk"')
        : pass('/sys/power/state does not offer "disk"');
    },
  },
  {
    id: 'kernel.tdx-platform',
    name: 'Kernel accepts TDX',
    category: 'kernel',
    fix: 'Enable TDX in the firmware setup; build the kernel with CONFIG_INTEL_TDX_HOST; see the kernel log for its reason.',
    source: 'arch/x86/virt/vmx/tdx/tdx.c: tdx_init sets X86_FEATURE_TDX_HOST_PLATFORM',
    run: (readers) => {
      const info = readCpuInfo(readers);
      if (!info.ok) return skip(`/proc/cpuinfo: ${info.reason}`);
      if (info.value.vendor !== INTEL && info.value.vendor !== '') return skip('not an Intel processor');
      return info.value.flags.has('tdx_host_platform')
        ? pass('flag tdx_host_platform')
        : fail('flag tdx_host_platform is missing in /proc/cpuinfo');
    },
  },
  {
    id: 'kernel.log',
    name: 'Kernel log about TDX',
    category: 'kernel',
    fix: 'See the lines.',
    source: 'arch/x86/virt/vmx/tdx/tdx.c, arch/x86/kvm/vmx/tdx.c',
    run: (readers) => {
      const log = readers.kernelLog();
      if (!log.ok) return skip(`not readable (${log.reason}); run as root, or set kernel.dmesg_restrict=0`);
      const seen = recognise(log.value);
      if (seen.length === 0) return skip('no line about TDX (the log may have wrapped since boot)');
      const bad = complaints(seen);
      const notes = seen.map(({ line, meaning }) => `${line}: ${meaning}`);
      const first = bad[0];
      return first
        ? fail(`${first.line}: ${first.meaning}`, first.message.fix, notes)
        : pass(`${seen.length} ${seen.length === 1 ? 'line' : 'lines'}, no complaint`, notes);
    },
  },
  {
    id: 'module.version',
    name: 'TDX module version',
    category: 'module',
    fix: 'Update the TDX module.',
    source: 'Documentation/ABI/testing/sysfs-devices-faux-tdx-host; virt/tdx messages',
    run: (readers) => {
      const version = readModuleVersion(readers);
      return version === undefined ? skip('the kernel does not tell (Linux 6.16 has no way to)') : pass(version);
    },
  },
];
