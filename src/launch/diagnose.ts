import { cpuidRegisterPlace } from '../cpuid/names.js';
import { KVM_CAP } from '../kvm/constants.js';
import type { KvmError } from '../kvm/errors.js';
import type { TdxStatus } from '../kvm/status.js';
import type { KvmVm, TdxInitVm } from '../kvm/vm.js';
import { INIT_VM_RULES, MNG_INIT_RULES, RULES, type Rule, type RuleId } from '../rulebook/index.js';
import { checkInitVm, type InitVmRequest, type Violation } from '../td/check/index.js';
import { type Finding, finding } from '../td/finding.js';
import { type TdHostFacts, tscKhzOf } from '../td/host-facts.js';
import { type CpuidAtom, type CpuidBits, cpuidAtoms, entriesWith } from './cpuid-atoms.js';
import { findCulprits } from './find-culprits.js';
import { InitVmProbe, type ProbeOptions } from './init-vm-probe.js';

/** Why KVM_TDX_INIT_VM failed. */
export interface InitVmDiagnosis {
  /** Who refused: a check of KVM's own, or the TDX module. */
  readonly origin: 'kvm' | 'module';
  /** The module's status, decoded, where the kernel handed it back. */
  readonly status?: TdxStatus;
  /** What was violated. A `warning` is a candidate that cannot be told from others here. */
  readonly findings: readonly Finding[];
  /** CPUID bits that the module refuses. */
  readonly culprits: readonly CpuidBits[];
  /** CPUID bits of which some are refused, where the search ended early. */
  readonly suspects: readonly CpuidBits[];
  /** Why the search ended early. */
  readonly stopped?: string;
  /** Further KVM_TDX_INIT_VM calls that were made. */
  readonly attempts: number;
  /** The failed VM has become a TD, without the refused bits, by the last attempt: close it. */
  readonly vmInitialised: boolean;
  /** A paragraph for people. */
  readonly text: string;
}

const toFinding = ({ at, ...said }: Violation): Finding => ({ ...said, path: at.field });

const allRules: readonly Rule[] = Object.values({ ...INIT_VM_RULES, ...MNG_INIT_RULES });

/** Rules that could be behind an error, as warnings: what the host does not show cannot be held against the request. */
const candidates = (rules: readonly Rule[]): Finding[] =>
  rules.map(({ id, what }) => finding(id as RuleId, '', 'warning', `possibly violated: ${what}`));

// What the kernel checks that parameters do not show: the rest of the entries is checked by checkInitVm.
const UNSEEN: Readonly<Record<string, readonly RuleId[]>> = {
  EINVAL: ['kvm.init-vm.once', 'kvm.init-vm.flags', 'kvm.init-vm.reserved'],
  EBUSY: ['kvm.init-vm.misc-cgroup', 'kvm.init-vm.no-vcpus'],
  ENOSPC: ['kvm.init-vm.keyid'],
  EAGAIN: ['kvm.init-vm.entropy'],
  E2BIG: ['kvm.init-vm.nent'],
  EIO: ['kvm.init-vm.module', 'kvm.init-vm.key-config'],
};

/** An errno without a status: KVM's own checks, or on EIO a status of the module that KVM keeps to itself. */
function explainErrno(error: KvmError, violations: readonly Violation[]): Finding[] {
  const seen = violations.filter(({ rule }) => {
    const { errno, status } = RULES[rule] as Rule;
    if (error.code === 'EIO') return status !== undefined && status !== 'TDX_OPERAND_INVALID';
    return errno === error.code || (rule === 'trap.junk-leaves' && error.code === 'EINVAL');
  });
  if (seen.some(({ severity }) => severity === 'error')) return seen.map(toFinding);
  const unseen = (UNSEEN[error.code] ?? []).map((id) => RULES[id]);
  return [...seen.map(toFinding), ...candidates(unseen)];
}

/** A status that names an operand: the rules about that operand which the request violates, or else all of them. */
function explainOperand(status: TdxStatus, violations: readonly Violation[], vm: KvmVm): Finding[] {
  const rules = allRules.filter((rule) => rule.status === status.name && rule.operand === status.operand);
  const violated = violations.filter(
    ({ rule, severity }) => rules.some(({ id }) => id === rule) && severity !== 'note',
  );
  if (violated.length > 0) return violated.map(toFinding);
  if (status.operand === 'MAX_VCPUS') {
    const what = `TD_PARAMS.MAX_VCPUS is ${vm.checkExtension(KVM_CAP.MAX_VCPUS)}`;
    return [finding('module.mng-init.max-vcpus', 'maxVcpus', 'error', what)];
  }
  return candidates(rules);
}

function ruleOf({ leaf, register, outsideMask }: CpuidBits): RuleId {
  if (!outsideMask && leaf === 1 && register === 'eax') return 'module.mng-init.fms';
  if (!outsideMask && leaf === 0x8000_0008 && register === 'eax') return 'module.mng-init.maxpa';
  if (!outsideMask && leaf === 7 && register === 'ebx') return 'module.mng-init.hle-rtm';
  return 'module.mng-init.cpuid-config';
}

const bitsText = ({ leaf, subleaf, register, names }: CpuidBits) =>
  `${cpuidRegisterPlace(leaf, subleaf, register)}: ${names}`;

function culpritFinding(bits: CpuidBits): Finding {
  const listed = bits.outsideMask ? '' : ', although the capabilities list them as configurable';
  return finding(ruleOf(bits), 'cpuid', 'error', `the module refuses ${bitsText(bits)}${listed}`);
}

// An unfinished topology would reach the module's own check of leaf 0x1F, which the kernel answers with a WARN: its bits
// are never probed. The masks of this leaf are exact, so bits outside them are refused and bits inside are not.
const isProbed = ({ leaf }: CpuidAtom) => leaf !== 0x1f;

function searchCpuid(vm: KvmVm, params: TdxInitVm, host: TdHostFacts, options: ProbeOptions) {
  const probe = new InitVmProbe(vm, options);
  const atoms = cpuidAtoms(params.cpuid, host);
  const certain = atoms.filter((atom) => !isProbed(atom) && atom.outsideMask);
  const fails = (some: readonly CpuidAtom[]) =>
    probe.refusesCpuid({ ...params, cpuid: entriesWith(params.cpuid, some) });
  try {
    const probed = atoms.filter(isProbed);
    // Where leaf 0x1F explains the failure, one attempt without it tells whether there is more to find.
    const found = findCulprits(probed, fails, certain.length === 0);
    const { attempts, vmInitialised } = probe;
    return { ...found, culprits: [...certain, ...found.culprits], attempts, vmInitialised };
  } finally {
    probe.close();
  }
}

const plain = ({ leaf, subleaf, register, bits, names, outsideMask }: CpuidAtom): CpuidBits => {
  return { leaf, subleaf, register, bits, names, outsideMask };
};

/**
 * Says why KVM_TDX_INIT_VM failed. An errno without a status of the module is one of KVM's own checks (or, for EIO, a status that
 * KVM keeps to itself): the rules that the request violates are named, or else those that could be behind it. A status is
 * decoded, and the rules about its operand are named. For CPUID_CONFIG, whose leaf KVM drops, the refused bits are searched with
 * further attempts.
 * @param vm the VM on which it failed; without `options.freshVm` the search uses it and may leave it initialised.
 * @param params what was given to KVM_TDX_INIT_VM.
 * @param error what it threw.
 */
export function explainInitVmFailure(
  vm: KvmVm,
  params: TdxInitVm,
  error: KvmError,
  host: TdHostFacts,
  options: ProbeOptions = {},
): InitVmDiagnosis {
  const request: InitVmRequest = {
    attributes: params.attributes,
    xfam: params.xfam,
    cpuid: params.cpuid,
    tscKhz: tscKhzOf(vm),
  };
  const violations = checkInitVm(request, host);
  const status = error.tdxStatus;
  const none = { culprits: [], suspects: [], attempts: 0, vmInitialised: false };
  if (status === undefined) {
    const findings = explainErrno(error, violations);
    const origin = error.code === 'EIO' ? 'module' : 'kvm';
    return { origin, findings, ...none, text: textOf(error, findings) };
  }
  if (status.operand !== 'CPUID_CONFIG') {
    const findings = explainOperand(status, violations, vm);
    return { origin: 'module', status, findings, ...none, text: textOf(error, findings) };
  }
  const { stopped, ...found } = searchCpuid(vm, params, host, options);
  const culprits = found.culprits.map(plain);
  const suspects = found.suspects.map(plain);
  const findings = culprits.map(culpritFinding);
  if (suspects.length > 0) {
    const what = `the module refuses some of ${suspects.map(bitsText).join('; ')} (${stopped})`;
    findings.push(finding('module.mng-init.cpuid-config', 'cpuid', 'warning', what));
  }
  const { attempts, vmInitialised } = found;
  const early = stopped === undefined ? {} : { stopped };
  const text = textOf(error, findings);
  return { origin: 'module', status, findings, culprits, suspects, ...early, attempts, vmInitialised, text };
}

function textOf(error: KvmError, findings: readonly Finding[]): string {
  const lines = findings.map(({ what, fix, rule }) => `  ${what}. ${fix}. [${rule}]`);
  return [`KVM_TDX_INIT_VM failed: ${error.message}`, ...lines].join('\n');
}
