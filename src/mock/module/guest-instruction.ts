import type { GuestEvent, TrappedInstruction } from '../guest/engine.js';
import { advance } from './advance.js';
import { asksForVe, cpuid } from './cpuid.js';
import { GPR, joined } from './gpr.js';
import type { GuestRuleId } from './guest-call.js';
import type { Guest } from './guest-context.js';
import { hasFeature } from './guest-features.js';
import { msr } from './guest-msr.js';
import { injectGp, injectUd, injectVe } from './guest-ve.js';
import { EXIT_REASON, type ExitReason } from './vmx.js';
import { xsetbv } from './xsetbv.js';

type Io = Extract<GuestEvent, { kind: 'io' }>;

/** #VE with nothing but its exit reason (tdx_td_dispatcher.c td_generic_ve_exit). */
const VE_REASON: Partial<Record<TrappedInstruction, ExitReason>> = {
  hlt: EXIT_REASON.HLT,
  invd: EXIT_REASON.INVD,
  wbinvd: EXIT_REASON.WBINVD,
  vmcall: EXIT_REASON.VMCALL,
  monitor: EXIT_REASON.MONITOR,
  mwait: EXIT_REASON.MWAIT,
};

/** Instructions that a processor refuses above privilege level 0 before it asks anybody. */
const PRIVILEGED: ReadonlySet<TrappedInstruction> = new Set(['hlt', 'invd', 'wbinvd', 'rdmsr', 'wrmsr', 'xsetbv']);

/** An instruction that the module handles, or turns into an exception; `length` bytes long. */
export function instruction(guest: Guest, name: TrappedInstruction, length: number): undefined {
  const { cpl } = guest.cpu.mode;
  if (cpl > 0 && PRIVILEGED.has(name)) return injectGp(guest, 'module.instruction.privileged');
  if (cpl > 0 && (name === 'monitor' || name === 'mwait')) return injectUd(guest, 'module.instruction.monitor');
  switch (name) {
    case 'cpuid':
      return executeCpuid(guest, length);
    case 'xsetbv':
      return executeXsetbv(guest, length);
    case 'rdmsr':
      return msr(guest, false, length);
    case 'wrmsr':
      return msr(guest, true, length);
    case 'rdpmc':
      return executeRdpmc(guest, length);
    case 'monitor':
    case 'mwait':
      return executeMonitor(guest, name, length);
    default:
      injectVe(guest, 'module.instruction.ve', { exitReason: VE_REASON[name]!, instructionLength: length });
  }
}

function executeCpuid(guest: Guest, length: number): undefined {
  const { cpu, vcpu, state } = guest;
  const { gprs, mode } = cpu;
  const ve = (rule: GuestRuleId): undefined =>
    injectVe(guest, rule, { exitReason: EXIT_REASON.CPUID, instructionLength: length });
  const leaf = Number(BigInt.asUintN(32, gprs[GPR.RAX]!));
  const subleaf = Number(BigInt.asUintN(32, gprs[GPR.RCX]!));
  const { cpl, cr4, longMode } = mode;
  if (asksForVe(vcpu, state.facts, cpl, leaf, subleaf)) return ve('module.cpuid.asked-for-ve');
  const tsxCpuidClear = (((vcpu.msrs.get(MSR_TSX_CTRL) ?? 0n) >> 1n) & 1n) === 1n;
  const result = cpuid(guest, { cr4, longMode, tsxCpuidClear }, leaf, subleaf);
  if ('vector' in result) return ve(result.rule);
  const [eax, ebx, ecx, edx] = result;
  gprs[GPR.RAX] = BigInt(eax);
  gprs[GPR.RBX] = BigInt(ebx);
  gprs[GPR.RCX] = BigInt(ecx);
  gprs[GPR.RDX] = BigInt(edx);
  advance(guest, length);
}

const MSR_TSX_CTRL = 0x122;

function executeXsetbv(guest: Guest, length: number): undefined {
  const { cpu, vcpu } = guest;
  const { gprs } = cpu;
  const index = Number(BigInt.asUintN(32, gprs[GPR.RCX]!));
  const refused = xsetbv(guest, index, joined(gprs[GPR.RDX]!, gprs[GPR.RAX]!));
  if (refused) return injectGp(guest, refused.rule);
  cpu.mode.xcr0 = vcpu.xcr0;
  advance(guest, length);
}

/** Counters belong to TDs with ATTRIBUTES.PERFMON (td_other_exits.c td_rdpmc_exit); this model's always stand at 0. */
function executeRdpmc(guest: Guest, length: number): undefined {
  const { cpu, td } = guest;
  if (!hasFeature(td, 'perfmon')) return injectGp(guest, 'module.instruction.rdpmc');
  cpu.gprs[GPR.RAX] = 0n;
  cpu.gprs[GPR.RDX] = 0n;
  advance(guest, length);
}

/** Native where CPUID has the instructions, and then nothing is waited for; #VE up to 1.5.01, #UD since. */
function executeMonitor(guest: Guest, name: 'monitor' | 'mwait', length: number): undefined {
  const { td, state } = guest;
  if (hasFeature(td, 'monitor')) return advance(guest, length);
  if (state.facts.features.vpInitVersion > 0) return injectUd(guest, 'module.instruction.monitor');
  injectVe(guest, 'module.instruction.ve', { exitReason: VE_REASON[name]!, instructionLength: length });
}

/** IN, OUT, INS and OUTS are always a #VE; the qualification says which (Intel SDM volume 3, table 28-5). */
export function io(guest: Guest, { length, port, size, write, string, rep, immediate }: Io): undefined {
  const bits =
    (size - 1) | (write ? 0 : 1 << 3) | (string ? 1 << 4 : 0) | (rep ? 1 << 5 : 0) | (immediate ? 1 << 6 : 0);
  injectVe(guest, 'module.instruction.ve', {
    exitReason: EXIT_REASON.IO,
    qualification: (BigInt(port) << 16n) | BigInt(bits),
    instructionLength: length,
  });
}
