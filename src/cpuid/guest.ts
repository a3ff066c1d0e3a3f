import { calculate } from './evaluate.js';
import type { Host } from './host.js';
import type { Values } from './native.js';
import type { CompiledRules } from './rules.js';
import { type Scope, setGuest } from './scope.js';

/** What CPUID depends on while a guest runs. */
export interface GuestState {
  cr4: bigint;
  xcr0: bigint;
  /** IA32_XSS. */
  xss: bigint;
  tdCtls: bigint;
  /** TDCS.FEATURE_PARAVIRT_CTLS, which modules before 1.5.09 do not have. */
  featureParavirtCtls?: bigint;
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
  if (leaf >= first && leaf <= last) return undefined;
  scope.virtual.set(registers);
  const beyond = leaf > rules.lastExtendedLeaf.low(scope) || (leaf > rules.lastLeaf && leaf < EXTENDED_LEAVES);
  const asked = beyond ? rules.lastLeaf : leaf;
  load(scope, state, subleaf);
  const at = rules.find(asked, null) ?? rules.find(asked, subleaf);
  const entry = at === undefined ? undefined : rules.entries[at];
  if (at === undefined || !entry) return unlistedCpuid(rules, scope, asked);
  if (entry.faulting || entry.ve?.(scope)) return undefined;
  calculate(entry.guest, scope);
  const [eax = 0, ebx = 0, ecx = 0, edx = 0] = scope.virtual.subarray(at * 4, at * 4 + 4);
  return [eax, ebx, ecx, edx];
}

function load(scope: Scope, state: GuestState, subleaf: number): void {
  setGuest(scope, 'cr4', state.cr4);
  setGuest(scope, 'xcr0', state.xcr0);
  setGuest(scope, 'xss', state.xss);
  setGuest(scope, 'td_ctls', state.tdCtls);
  setGuest(scope, 'feature_paravirt_ctls', state.featureParavirtCtls ?? 0n);
  setGuest(scope, 'vcpu_index', state.vcpuIndex);
  setGuest(scope, 'x2apic_id', state.x2apicId);
  setGuest(scope, 'tsx_cpuid_clear', state.tsxCpuidClear);
  setGuest(scope, 'long_mode', state.longMode);
  setGuest(scope, 'subleaf', subleaf);
}

function unlistedCpuid(rules: CompiledRules, scope: Scope, leaf: number): Values | undefined {
  const found = rules.unlisted.find(({ leaves }) => leaves === undefined || leaves.has(leaf));
  if (!found || found.ve?.(scope)) return undefined;
  const [eax = 0, ebx = 0, ecx = 0, edx = 0] = found.registers.map((code) => code?.low(scope) ?? 0);
  return [eax, ebx, ecx, edx];
}
