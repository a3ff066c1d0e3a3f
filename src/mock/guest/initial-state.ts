/**
 * A TD vCPU's registers before its first instruction (td_vmcs_init.c, tdh_vp_init.c), general ones apart: 32-bit flat
 * protected mode at the reset vector, EFER.LME already set, no descriptor tables.
 */
export const INITIAL_STATE = {
  rip: 0xffff_fff0n,
  rflags: 2n,
  /** PE, ET, NE: ET reads as 1 on every processor with an FPU. */
  cr0: 0x31n,
  /** MCE. */
  cr4: 0x40n,
  /** SCE, LME, NXE. */
  efer: 0x901n,
  pat: 0x0007_0406_0007_0406n,
  xcr0: 1n,
  gdtrLimit: 0xffff,
  idtrLimit: 0,
} as const;
