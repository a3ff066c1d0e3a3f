import { decodeTdxStatus } from '../kvm/status.js';

/** A line of the kernel's log that says something about TDX. */
export interface KernelMessage {
  readonly id: string;
  readonly pattern: RegExp;
  /** `bad` stops TDX, `up` says that the module runs, `info` is neither. */
  readonly kind: 'bad' | 'up' | 'info';
  readonly meaning: (match: RegExpExecArray) => string;
  readonly fix?: string;
  readonly source: string;
}

const CORE = 'arch/x86/virt/vmx/tdx/tdx.c';
const KVM = 'arch/x86/kvm/vmx/tdx.c';

const says = (text: string) => () => text;

/** What Linux 6.16 and newer print while they bring TDX up. Several may match a line: the first counts. */
export const KERNEL_MESSAGES: readonly KernelMessage[] = [
  {
    id: 'bios-enabled',
    pattern: /BIOS enabled: private KeyID range \[(\d+), (\d+)\)/,
    kind: 'info',
    meaning: ([, from, to]) =>
      `the firmware enabled TDX with ${Number(to) - Number(from)} private KeyIDs, one of which the module keeps`,
    source: `${CORE} tdx_init`,
  },
  {
    id: 'too-few-keyids',
    pattern: /too few private KeyIDs available/,
    kind: 'bad',
    meaning: says('the firmware gave TDX fewer than two KeyIDs, and the module keeps one for itself'),
    fix: 'In the firmware setup, give TDX more of the TME-MT KeyIDs ("TME-MT/TDX key split").',
    source: `${CORE} tdx_init`,
  },
  {
    id: 'hibernation',
    pattern: /Hibernation support is enabled/,
    kind: 'bad',
    meaning: says('the kernel refuses TDX while it can hibernate'),
    fix: 'Add nohibernate to the kernel command line and reboot.',
    source: `${CORE} tdx_init`,
  },
  {
    id: 'memory-notifier',
    pattern: /initialization failed: register_memory_notifier\(\) failed \((-?\d+)\)/,
    kind: 'bad',
    meaning: ([, errno]) => `the kernel could not watch memory hotplug (${errno})`,
    fix: 'Report it to the vendor of the kernel: this does not depend on the configuration.',
    source: `${CORE} tdx_init`,
  },
  {
    id: 's3',
    pattern: /Disable ACPI S3/,
    kind: 'info',
    meaning: says('suspend to RAM is off while TDX is on'),
    source: `${CORE} tdx_init`,
  },
  {
    id: 'seamcall-failed',
    pattern: /SEAMCALL \((0x[0-9a-f]+|\d+)\) failed: (0x[0-9a-f]+)/i,
    kind: 'bad',
    meaning: ([, leaf, status]) =>
      `the module refused SEAMCALL ${Number(leaf)}: ${decodeTdxStatus(BigInt(status!)).text}`,
    fix: 'Update the firmware and the TDX module; SYS_NOT_READY and the like mean that an old or failed module is loaded.',
    source: `${CORE} seamcall_err`,
  },
  {
    id: 'module-not-loaded',
    pattern: /tdx: module not loaded/i,
    kind: 'bad',
    meaning: says('no TDX module is in SEAM memory'),
    fix: 'In the firmware setup, enable "TDX SEAM Loader"; update the firmware, or put the module image on the EFI partition where it looks for it.',
    source: `${CORE} try_init_module_global`,
  },
  {
    id: 'module-version',
    pattern: /module version: (\d+\.\d+\.\d+)/i,
    kind: 'info',
    meaning: ([, version]) => `the TDX module is version ${version}`,
    source: `${CORE} get_tdx_sys_info (later than 6.16)`,
  },
  {
    id: 'tdmrs-exhausted',
    pattern: /TDMRs exhausted/,
    kind: 'bad',
    meaning: says('the memory map has more pieces than the module has regions for them'),
    fix: 'Change the memory configuration in the firmware setup (fewer holes), or update the TDX module.',
    source: `${CORE} fill_out_tdmrs`,
  },
  {
    id: 'reserved-areas-exhausted',
    pattern: /reserved areas exhausted/,
    kind: 'bad',
    meaning: says('the memory map has more holes in a region than the module can leave out'),
    fix: 'Change the memory configuration in the firmware setup (fewer holes), or update the TDX module.',
    source: `${CORE} tdmr_add_rsvd_area`,
  },
  {
    id: 'rbp-clobber',
    pattern: /frame pointer \(RBP\) clobber bug present/,
    kind: 'bad',
    meaning: says('the module is too old for this kernel: it lacks NO_RBP_MOD'),
    fix: 'Update the TDX module, usually with the firmware.',
    source: `${CORE} check_features`,
  },
  {
    id: 'module-failed',
    pattern: /(?:TDX-)?module initialization failed \((-?\d+)\)/i,
    kind: 'bad',
    meaning: ([, errno]) => `the TDX module was found but not brought up (${errno})`,
    fix: 'See the lines before this one for the cause; update the firmware and the TDX module.',
    source: `${CORE} tdx_enable`,
  },
  {
    id: 'pamt',
    pattern: /(\d+) KB allocated for PAMT/,
    kind: 'info',
    meaning: ([, kb]) => `the module's page metadata takes ${Math.round(Number(kb) / 1024)} MiB of memory`,
    source: `${CORE} init_tdx_module`,
  },
  {
    id: 'module-initialized',
    pattern: /tdx: (?:TDX-)?module initialized/i,
    kind: 'up',
    meaning: says('the TDX module runs'),
    source: `${CORE} tdx_enable`,
  },
  {
    id: 'required',
    pattern:
      /(EPT|TDP MMU and MMIO caching and EPT A\/D bit|APICv|OSXSAVE|XSAVE|MOVDIR64B|Self-snoop) is required for TDX/,
    kind: 'bad',
    meaning: ([, what]) => `KVM found no ${what}`,
    fix: 'Load kvm_intel with ept=1 eptad=1 enable_apicv=1 and kvm with tdp_mmu=1 mmio_caching=1; a virtual machine or an old processor cannot have it.',
    source: `${KVM} tdx_bringup`,
  },
  {
    id: 'no-keyids',
    pattern: /no TDX private KeyIDs available/,
    kind: 'bad',
    meaning: says('the core kernel did not find or accept TDX'),
    fix: 'Enable TDX in the firmware setup, or mend what an earlier line of the log complains of.',
    source: `${KVM} tdx_bringup`,
  },
  {
    id: 'not-supported',
    pattern: /TDX not supported by the host platform/,
    kind: 'bad',
    meaning: says('the core kernel did not find or accept TDX'),
    fix: 'Enable TDX in the firmware setup, or mend what an earlier line of the log complains of.',
    source: `${CORE} tdx_enable, where it runs at boot (later than 6.16)`,
  },
  {
    id: 'virt-at-load',
    pattern: /tdx requires kvm\.enable_virt_at_load=1/,
    kind: 'bad',
    meaning: says('kvm is loaded with enable_virt_at_load=0, and TDX needs VMX on from the start'),
    fix: 'Remove kvm.enable_virt_at_load=0 from the kernel command line or the options of the kvm module, and reload it.',
    source: `${KVM} tdx_bringup`,
  },
  {
    id: 'max-vcpu-per-td',
    pattern: /MAX_VCPU_PER_TD \((\d+)\) smaller than number of logical CPUs \((\d+)\)/,
    kind: 'bad',
    meaning: ([, max, cpus]) => `the module allows a TD ${max} vCPUs, fewer than the ${cpus} CPUs of this machine`,
    fix: 'Update the TDX module: this one is too old for a machine of this size.',
    source: `${KVM} __tdx_bringup`,
  },
];

/** A recognised line, oldest first. */
export interface SeenMessage {
  message: KernelMessage;
  line: string;
  meaning: string;
}

/** Picks the lines of a kernel log that {@link KERNEL_MESSAGES} knows. */
export function recognise(log: string): SeenMessage[] {
  const seen: SeenMessage[] = [];
  for (const line of log.split('\n')) {
    for (const message of KERNEL_MESSAGES) {
      const match = message.pattern.exec(line);
      if (match) {
        seen.push({ message, line: line.trim(), meaning: message.meaning(match) });
        break;
      }
    }
  }
  return seen;
}

/** The complaints that still stand: those before the last "module initialized" have been overcome. */
export function complaints(seen: readonly SeenMessage[]): SeenMessage[] {
  const up = seen.findLastIndex(({ message }) => message.kind === 'up');
  return seen.slice(up + 1).filter(({ message }) => message.kind === 'bad');
}
