import { describe, expect, it } from 'vitest';
import { runCheck } from '../../src/host/check.js';
import { complaints, KERNEL_MESSAGES, recognise } from '../../src/host/messages.js';
import { CHECKS } from '../../src/host/report.js';
import { but, fakeHost } from './fake-host.js';

// Lines as Linux prints them, with what they must be told apart as.
const LINES: [string, string, RegExp][] = [
  ['[    0.012] virt/tdx: BIOS enabled: private KeyID range [64, 128)', 'bios-enabled', /64 private KeyIDs/],
  ['virt/tdx: initialization failed: too few private KeyIDs available.', 'too-few-keyids', /fewer than two/],
  ['virt/tdx: initialization failed: Hibernation support is enabled', 'hibernation', /hibernate/],
  ['virt/tdx: initialization failed: register_memory_notifier() failed (-12)', 'memory-notifier', /-12/],
  ['virt/tdx: Disable ACPI S3. Turn off TDX in the BIOS to use ACPI S3.', 's3', /suspend/],
  [
    'virt/tdx: SEAMCALL (0x0000000000000021) failed: 0xc000050500000000',
    'seamcall-failed',
    /SEAMCALL 33: TDX_SYS_NOT_READY/,
  ],
  ['virt/tdx: SEAMCALL (33) failed: 0xc000050500000000', 'seamcall-failed', /SEAMCALL 33: TDX_SYS_NOT_READY/],
  ['virt/tdx: module not loaded', 'module-not-loaded', /no TDX module/],
  ['virt/tdx: Module version: 1.5.24', 'module-version', /1\.5\.24/],
  ['virt/tdx: initialization failed: TDMRs exhausted.', 'tdmrs-exhausted', /memory map/],
  [
    'virt/tdx: initialization failed: TDMR [0x0, 0x100000000): reserved areas exhausted.',
    'reserved-areas-exhausted',
    /holes/,
  ],
  ['virt/tdx: frame pointer (RBP) clobber bug present, upgrade TDX module', 'rbp-clobber', /too old/],
  ['virt/tdx: module initialization failed (-5)', 'module-failed', /-5/],
  ['virt/tdx: TDX-Module initialization failed (-28)', 'module-failed', /-28/],
  ['virt/tdx: 1050644 KB allocated for PAMT', 'pamt', /1026 MiB/],
  ['virt/tdx: module initialized', 'module-initialized', /runs/],
  ['virt/tdx: TDX-Module initialized', 'module-initialized', /runs/],
  ['kvm_intel: EPT is required for TDX', 'required', /no EPT/],
  ['kvm_intel: TDP MMU and MMIO caching and EPT A/D bit is required for TDX', 'required', /no TDP MMU/],
  ['kvm_intel: APICv is required for TDX', 'required', /no APICv/],
  ['kvm_intel: tdx: OSXSAVE is required for TDX', 'required', /no OSXSAVE/],
  ['kvm_intel: tdx: MOVDIR64B is required for TDX', 'required', /no MOVDIR64B/],
  ['kvm_intel: Self-snoop is required for TDX', 'required', /no Self-snoop/],
  ['kvm_intel: tdx: no TDX private KeyIDs available', 'no-keyids', /core kernel/],
  ['virt/tdx: TDX not supported by the host platform', 'not-supported', /core kernel/],
  ['kvm_intel: tdx: tdx requires kvm.enable_virt_at_load=1', 'virt-at-load', /enable_virt_at_load=0/],
  [
    'kvm_intel: Disable TDX: MAX_VCPU_PER_TD (64) smaller than number of logical CPUs (256).',
    'max-vcpu-per-td',
    /64 vCPUs, fewer than the 256/,
  ],
];

describe('lines of the kernel log', () => {
  it.each(LINES)('%s is understood as %s', (line, id, meaning) => {
    const [seen, ...more] = recognise(line);
    expect(more).toEqual([]);
    expect(seen?.message.id).toBe(id);
    expect(seen?.meaning).toMatch(meaning);
  });

  it('are all covered here, and what stops TDX has a fix', () => {
    expect(KERNEL_MESSAGES.map(({ id }) => id).filter((id) => !LINES.some(([, known]) => known === id))).toEqual([]);
    expect(KERNEL_MESSAGES.filter(({ kind, fix }) => kind === 'bad' && !fix)).toEqual([]);
  });

  it('about other things are passed over', () => {
    expect(recognise('kvm: VM_EXIT_LOAD_IA32_PERF_GLOBAL_CTRL does not work\nIOMMU: SEAMless')).toEqual([]);
  });
});

describe('complaints', () => {
  it('that the module overcame later no longer count', () => {
    const log = 'virt/tdx: module not loaded\nvirt/tdx: module initialized';
    expect(complaints(recognise(log))).toEqual([]);
  });

  it('after the module came up do count', () => {
    const log = 'virt/tdx: module initialized\nkvm_intel: APICv is required for TDX';
    expect(complaints(recognise(log)).map(({ message }) => message.id)).toEqual(['required']);
  });

  it('are shown by the check with the first one’s fix and every line explained', () => {
    const check = CHECKS.find(({ id }) => id === 'kernel.log')!;
    const log =
      'virt/tdx: BIOS enabled: private KeyID range [32, 64)\nvirt/tdx: module not loaded\nvirt/tdx: module initialization failed (-19)';
    const result = runCheck(check, fakeHost(but({ log })));
    expect(result.status).toBe('fail');
    expect(result.detail).toBe('virt/tdx: module not loaded: no TDX module is in SEAM memory');
    expect(result.fix).toMatch(/SEAM Loader/);
    expect(result.notes).toHaveLength(3);
  });
});
