import { rules } from './rule.js';

const GP = 13;
const VE = 20;

/** What the TDX module lets its guest write to CR0 and CR4: helpers.c write_guest_cr0, write_guest_cr4. */
export const CONTROL_REGISTER_RULES = rules({
  'module.cr0.ne': {
    source: 'helpers.c write_guest_cr0: IA32_VMX_CR0_FIXED0',
    exception: GP,
    what: 'CR0.NE stays set',
    fix: 'Keep NE (bit 5) when writing CR0',
  },
  'module.cr0.pe': {
    source: 'helpers.c write_guest_cr0: CR_ACCESS_NON_ARCH, !cr0.pe',
    exception: VE,
    what: 'A TD does not leave protected mode: CR0.PE stays set',
    fix: 'Keep PE (bit 0) when writing CR0; TDs have no real mode',
  },
  'module.cr0.cd': {
    source: 'helpers.c write_guest_cr0: CR_ACCESS_NON_ARCH, cr0.nw || cr0.cd',
    exception: VE,
    what: 'A TD does not turn its caches off: CR0.CD and CR0.NW stay clear',
    fix: 'Do not set CD (bit 30) or NW (bit 29) in CR0',
  },
  'module.cr4.mce': {
    source: 'helpers.c write_guest_cr4: CR_ACCESS_NON_ARCH; td_vmcs_init.c: CR4 guest/host mask',
    exception: VE,
    what: 'CR4.MCE stays set, as the TD starts with it',
    fix: 'Read CR4 and change only the bits that are meant: keep MCE (bit 6)',
  },
  'module.cr4.vmxe': {
    source: 'helpers.c write_guest_cr4: CR_ACCESS_NON_ARCH; td_vmcs_init.c: CR4 guest/host mask',
    exception: VE,
    what: 'A TD has no VMX of its own: CR4.VMXE stays clear as it reads',
    fix: 'Do not set VMXE (bit 13) in CR4',
  },
  'module.cr4.smxe': {
    source: 'helpers.c write_guest_cr4: IA32_VMX_CR4_FIXED1',
    exception: GP,
    what: 'A TD has no SMX: CR4.SMXE stays clear',
    fix: 'Do not set SMXE (bit 14) in CR4',
  },
});
