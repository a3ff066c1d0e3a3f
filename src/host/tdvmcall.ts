// TDG.VP.VMCALL<GetTdVmCallInfo> with R12 = 1 tells the guest which TDVMCALLs beyond the base set work (GHCI, GetTdVmCallInfo;
// numbers: arch/x86/include/asm/shared/tdx.h). KVM says which of them it handles and which user space may.

/** Bits of R11. */
export const TDVMCALL_INFO_R11 = {
  1: { name: 'SetupEventNotifyInterrupt', meaning: 'The host can interrupt the TD when a GetQuote is done' },
} as const satisfies Record<number, { name: string; meaning: string }>;

/** Names of the set bits: `SetupEventNotifyInterrupt (bit 1), bit 5`, or `none`. */
export function describeTdvmcalls(r11: bigint): string {
  const names: Record<number, { name: string }> = TDVMCALL_INFO_R11;
  const set = Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => (r11 >> BigInt(bit)) & 1n);
  return set.map((bit) => (names[bit] ? `${names[bit].name} (bit ${bit})` : `bit ${bit}`)).join(', ') || 'none';
}
