import { KVM_CAP, KVM_X86_SEV_VM, KVM_X86_SW_PROTECTED_VM, KVM_X86_TDX_VM } from '../../kvm/constants.js';
import type { KvmSystem } from '../../kvm/system.js';
import { type Check, fail, type Outcome, pass, skip, warn } from '../check.js';
import { maybeIntel } from '../cpuinfo.js';
import type { HostReaders } from '../readers.js';

/** Module parameters without which tdx_bringup gives up: file, what it is. */
const NEEDED_PARAMETERS = [
  ['/sys/module/kvm_intel/parameters/ept', 'kvm_intel.ept'],
  ['/sys/module/kvm_intel/parameters/eptad', 'kvm_intel.eptad'],
  ['/sys/module/kvm_intel/parameters/enable_apicv', 'kvm_intel.enable_apicv'],
  ['/sys/module/kvm/parameters/tdp_mmu', 'kvm.tdp_mmu'],
  ['/sys/module/kvm/parameters/mmio_caching', 'kvm.mmio_caching'],
] as const;

/** Private KeyIDs for TDs, of the root cgroup. */
export const KVM_CGROUP_CAPACITY = '/sys/fs/cgroup/misc.capacity';

const isOn = (value: string) => /^[Yy1]/.test(value);

/** Which interface a kernel speaks, told by its VM types without creating a TD. */
export type KvmGeneration = 'upstream' | 'v19' | 'none';

/** @param vmTypes CHECK_EXTENSION(KVM_CAP_VM_TYPES), a bit a type. On AMD, bit 2 is SEV. */
export function generationOf(vmTypes: number, intel: boolean): KvmGeneration {
  if ((vmTypes >> KVM_X86_TDX_VM) & 1) return 'upstream';
  return intel && (vmTypes >> KVM_X86_SEV_VM) & 1 ? 'v19' : 'none';
}

const withKvm = (readers: HostReaders, ask: (system: KvmSystem) => Outcome): Outcome => {
  const system = readers.kvm();
  return system.ok ? ask(system.value) : skip(system.reason);
};

export const KVM_CHECKS: readonly Check[] = [
  {
    id: 'kvm.intel',
    name: 'kvm_intel loaded',
    category: 'kvm',
    fix: 'Load it: modprobe kvm_intel tdx=1.',
    source: '/sys/module/kvm_intel',
    run: (readers) => {
      if (readers.file('/sys/module/kvm_intel/parameters/ept').ok) return pass('/sys/module/kvm_intel');
      return maybeIntel(readers) ? fail('/sys/module/kvm_intel is missing') : skip('not an Intel processor');
    },
  },
  {
    id: 'kvm.tdx-parameter',
    name: 'kvm_intel.tdx on',
    category: 'kvm',
    fix: 'Boot with kvm_intel.tdx=1, or put "options kvm_intel tdx=1" in /etc/modprobe.d and reload kvm_intel: the default is N.',
    source: 'arch/x86/kvm/vmx/tdx.c: enable_tdx',
    run: ({ file }) => {
      const value = file('/sys/module/kvm_intel/parameters/tdx');
      if (value.ok) return isOn(value.value) ? pass('tdx = Y') : fail('tdx = N: not asked for, or given up at load');
      if (!file('/sys/module/kvm_intel/parameters/ept').ok) return skip('kvm_intel is not loaded');
      return fail(
        'kvm_intel has no parameter tdx',
        'Use a kernel built with CONFIG_KVM_INTEL_TDX (Linux 6.16 or newer).',
      );
    },
  },
  {
    id: 'kvm.virt-at-load',
    name: 'VMX on from the start',
    category: 'kvm',
    fix: 'Remove kvm.enable_virt_at_load=0 from the kernel command line or the options of the kvm module, and reload it.',
    source: 'arch/x86/kvm/vmx/tdx.c: tdx_bringup',
    run: ({ file }) => {
      const value = file('/sys/module/kvm/parameters/enable_virt_at_load');
      if (!value.ok) return skip('kvm has no parameter enable_virt_at_load');
      return isOn(value.value) ? pass('kvm.enable_virt_at_load = Y') : fail('kvm.enable_virt_at_load = N');
    },
  },
  {
    id: 'kvm.parameters',
    name: 'Other parameters that TDX needs',
    category: 'kvm',
    fix: 'Remove the options that turn these off, and reload kvm and kvm_intel.',
    source: 'arch/x86/kvm/vmx/tdx.c: tdx_bringup',
    run: (readers) => {
      if (!maybeIntel(readers)) return skip('not an Intel processor');
      const values = NEEDED_PARAMETERS.map(([path, name]) => ({ name, value: readers.file(path) }));
      const read = values.flatMap(({ name, value }) => (value.ok ? [{ name, on: isOn(value.value) }] : []));
      if (read.length === 0) return skip('kvm is not loaded');
      const off = read.filter(({ on }) => !on).map(({ name }) => name);
      return off.length ? fail(`off: ${off.join(', ')}`) : pass(`${read.map(({ name }) => name).join(', ')} are on`);
    },
  },
  {
    id: 'kvm.cgroup',
    name: 'TDs that the misc cgroup allows',
    category: 'kvm',
    fix: 'Close TDs, or raise misc.max of the cgroup.',
    source: 'kernel/cgroup/misc.c; arch/x86/kvm/vmx/tdx.c: MISC_CG_RES_TDX',
    run: ({ file }) => {
      const number = (path: string) => {
        const text = file(path);
        const match = text.ok ? /^tdx (\d+)$/m.exec(text.value) : null;
        return match ? Number(match[1]) : undefined;
      };
      const capacity = number(KVM_CGROUP_CAPACITY);
      if (capacity === undefined) return skip('no "tdx" in /sys/fs/cgroup/misc.capacity');
      const used = number('/sys/fs/cgroup/misc.current') ?? 0;
      const detail = `${capacity} TDs at a time, ${used} now`;
      return used < capacity ? pass(detail) : warn(`${detail}: the next KVM_TDX_INIT_VM gives ENOSPC`);
    },
  },
  {
    id: 'kvm.device',
    name: '/dev/kvm usable',
    category: 'kvm',
    fix: 'Load KVM: modprobe kvm_intel; in a container, pass the device in.',
    source: 'KVM_DEV',
    run: ({ writable }) => {
      const access = writable('/dev/kvm');
      if (access.ok) return pass('readable and writable');
      if (access.code === 'EACCES' || access.code === 'EPERM')
        return fail('no permission', 'Join the group that owns it and log in again: sudo usermod -aG kvm "$USER".');
      return fail(access.code === 'ENOENT' ? 'does not exist' : access.reason);
    },
  },
  {
    id: 'kvm.addon',
    name: 'Addon built',
    category: 'kvm',
    fix: 'Install a C++ compiler and run npm run build (or npm rebuild); without the addon everything runs on the model.',
    source: 'native/',
    run: (readers) => {
      const addon = readers.addon();
      return addon.ok ? pass(addon.value) : fail(addon.reason);
    },
  },
  {
    id: 'kvm.vm-types',
    name: 'KVM offers TDs',
    category: 'kvm',
    fix: 'Mend the first failure above: KVM offers the TDX VM type only when all of it came up.',
    source: 'KVM_CHECK_EXTENSION(KVM_CAP_VM_TYPES); arch/x86/kvm/vmx/main.c: enable_tdx',
    run: (readers) =>
      withKvm(readers, (system) => {
        const types = system.checkExtension(KVM_CAP.VM_TYPES);
        const seen = `KVM_CAP_VM_TYPES = 0x${types.toString(16)}`;
        const generation = generationOf(types, maybeIntel(readers));
        if (generation === 'upstream') return pass(`${seen}: bit 5, the interface of Linux 6.16 and newer`);
        if (generation === 'v19')
          return fail(
            `${seen}: bit 2, the TDX interface of kernels before 6.16 (patch series v19), which this library does not speak`,
            'Boot Linux 6.16 or newer; QEMU must then be 10.1 or newer too.',
          );
        const almost = (types >> KVM_X86_SW_PROTECTED_VM) & 1 ? '; bit 1 is software-protected VMs, not TDX' : '';
        return fail(`${seen}: bit 5 is clear${almost}`);
      }),
  },
  {
    id: 'kvm.capabilities',
    name: 'KVM_TDX_CAPABILITIES answers',
    category: 'kvm',
    fix: 'See the kernel log; reload kvm_intel.',
    source: 'arch/x86/kvm/vmx/tdx.c: tdx_get_capabilities',
    run: (readers) =>
      withKvm(readers, (system) => {
        if (generationOf(system.checkExtension(KVM_CAP.VM_TYPES), maybeIntel(readers)) !== 'upstream')
          return skip('no TDs to ask');
        const vm = system.createVm(KVM_X86_TDX_VM);
        try {
          const caps = vm.tdx.capabilities();
          return pass(
            `${caps.cpuid.length} configurable CPUID leaves, at most ${vm.checkExtension(KVM_CAP.MAX_VCPUS)} vCPUs`,
          );
        } finally {
          vm.close();
        }
      }),
  },
];
