import { calculate } from './evaluate.js';
import type { Host } from './host.js';
import type { Values } from './native.js';

/** What CPUID depends on while a guest runs. */
export interface GuestState {
  cr4: bigint;
  xcr0: bigint;
  /** IA32_XSS. */
  xss: bigint;
  tdCtls: bigint;
  vcpuIndex: number;
  /** Given to TDH.VP.INIT version 1. */
  x2apicId: number;
  /** IA32_TSX_CTRL.TSX_CPUID_CLEAR of the guest. */
  tsxCpuidClear: boolean;
  /** 64-bit mode (CS.L). */
  longMode: boolean;
}

const HYPERVISOR_LEAVES = [0x4000_0000, 0x4fff_ffff] as const;
const EXTENDED_LEAVES = 0x8000_0000;

/**
 * CPUID as a guest executes it (td_cpuid.c): EAX to EDX, or undefined for a #VE. `registers` are the TD's values as
 * TDH.MNG.INIT left them. The guest's own #VE controls (TDG.VP.CPUIDVE.SET) are the caller's.
 */
export function guestCpuid(
  host: Host,
  registers: Uint32Array,
  state: GuestState,
  leaf: number,
  subleaf: number,
): Values | undefined {
  const { rules, scope } = host;
  const [first, last] = HYPERVISOR_LEAVES;
  const beyond = leaf > rules.lastExtendedLeaf.low(scope) || (leaf > rules.lastLeaf && leaf < EXTENDED_LEAVES);
  const asked = beyond && (leaf < first || leaf > last) ? rules.lastLeaf : leaf;
  const at = rules.find(asked, null) ?? rules.find(asked, subleaf);
  const entry = at === undefined ? undefined : rules.entries[at];
  if (at === undefined || !entry || entry.faulting) return undefined;

  const lower = (value: bigint): number => Number(value & 0xffff_ffffn);
  // In the order of GUEST_STATE.
  scope.guest.set([
    lower(state.cr4),
    lower(state.xcr0),
    lower(state.xss),
    lower(state.tdCtls),
    state.vcpuIndex,
    state.x2apicId,
    state.tsxCpuidClear ? 1 : 0,
    state.longMode ? 1 : 0,
  ]);
  scope.virtual.set(registers);
  if (entry.ve?.(scope)) return undefined;
  calculate(entry.guest, scope);
  const [eax = 0, ebx = 0, ecx = 0, edx = 0] = scope.virtual.subarray(at * 4, at * 4 + 4);
  return [eax, ebx, ecx, edx];
}
