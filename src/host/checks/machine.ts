import { type Check, fail, pass, skip } from '../check.js';
import { INTEL, readCpuInfo } from '../cpuinfo.js';

/** What KVM's TDX code asks of the processor besides TDX itself (tdx_bringup). */
const REQUIRED_FLAGS = [
  ['movdir64b', 'MOVDIR64B'],
  ['ss', 'self-snoop'],
  ['xsave', 'XSAVE'],
] as const;

export const MACHINE_CHECKS: readonly Check[] = [
  {
    id: 'machine.linux',
    name: 'Linux on x86-64',
    category: 'machine',
    fix: 'TDX exists on 64-bit x86 and is driven by Linux; use the model here (--backend mock).',
    source: 'arch/x86/kvm/Kconfig: KVM_INTEL_TDX depends on X86_64',
    run: ({ platform, arch, file }) => {
      if (platform !== 'linux' || arch !== 'x64') return fail(`${platform} on ${arch}`);
      const release = file('/proc/sys/kernel/osrelease');
      return pass(release.ok ? `Linux ${release.value}` : 'Linux');
    },
  },
  {
    id: 'processor.intel',
    name: 'Intel processor',
    category: 'processor',
    fix: 'TDX is in Intel Xeon processors: 4th generation (selected models) and newer.',
    source: 'Intel TDX module specification; CPUID leaf 0',
    run: (readers) => {
      const info = readCpuInfo(readers);
      if (!info.ok) return skip(`/proc/cpuinfo: ${info.reason}`);
      const { vendor, model } = info.value;
      if (vendor === '') return skip('/proc/cpuinfo names no vendor');
      return vendor === INTEL ? pass(model) : fail(`${vendor}, ${model}`);
    },
  },
  {
    id: 'processor.vmx',
    name: 'VT-x on',
    category: 'processor',
    fix: 'Enable VT-x in the firmware setup. In a virtual machine there is no TDX host: use the machine itself.',
    source: 'arch/x86/kvm/vmx/vmx.c: kvm_is_vmx_supported',
    run: (readers) => {
      const info = readCpuInfo(readers);
      if (!info.ok) return skip(`/proc/cpuinfo: ${info.reason}`);
      if (info.value.vendor !== INTEL && info.value.vendor !== '') return skip('not an Intel processor');
      return info.value.flags.has('vmx') ? pass('flag vmx') : fail('flag vmx is missing');
    },
  },
  {
    id: 'processor.bare-metal',
    name: 'Not inside a virtual machine',
    category: 'processor',
    fix: 'Run on the machine itself: a TDX module is not offered to virtual machines.',
    source: 'CPUID(1).ECX[31]',
    run: (readers) => {
      const info = readCpuInfo(readers);
      if (!info.ok) return skip(`/proc/cpuinfo: ${info.reason}`);
      return info.value.flags.has('hypervisor')
        ? { status: 'warn', detail: 'this is a virtual machine (flag hypervisor)' }
        : pass('no hypervisor below');
    },
  },
  {
    id: 'processor.instructions',
    name: 'Instructions that KVM needs for TDX',
    category: 'processor',
    fix: 'Use a processor with TDX: every one of them has these.',
    source: 'arch/x86/kvm/vmx/tdx.c: tdx_bringup',
    run: (readers) => {
      const info = readCpuInfo(readers);
      if (!info.ok) return skip(`/proc/cpuinfo: ${info.reason}`);
      if (info.value.vendor !== INTEL && info.value.vendor !== '') return skip('not an Intel processor');
      const absent = REQUIRED_FLAGS.filter(([flag]) => !info.value.flags.has(flag)).map(([, name]) => name);
      return absent.length ? fail(`missing: ${absent.join(', ')}`) : pass(REQUIRED_FLAGS.map(([, n]) => n).join(', '));
    },
  },
];
