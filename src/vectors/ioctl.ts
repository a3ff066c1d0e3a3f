import { profileOf, type Step, type StepResult, StepRunner } from './ioctl-steps.js';
import type { CaseResult, VectorEnv } from './types.js';

/**
 * Runs one case of caps.jsonl, initvm.jsonl or lifecycle.jsonl through src/wire on a fresh host and compares
 * everything that it expects: return values, errnos, hw_error, TD_PARAMS, failing SEAMCALLs, buffers, CPUID and MRTD.
 */
export const runIoctl = (testCase: Step, env: VectorEnv): CaseResult => {
  const runner = new StepRunner(profileOf(env.platform(testCase.profile), env.moduleVersion, testCase.host));
  const difference = testCase.steps
    ? runSteps(runner, testCase.steps, testCase.expect, 'step')
    : testCase.cmd
      ? runCapabilities(runner, testCase)
      : runInitVm(runner, testCase);
  runner.close();
  return difference === undefined ? { ok: true } : { ok: false, difference };
};

function runSteps(runner: StepRunner, steps: Step[], expect: StepResult[], what: string): string | undefined {
  for (const [i, step] of steps.entries()) {
    const difference = compare(runner.run(step), expect[i] ?? {});
    if (difference) return `${what} ${i} (${step.op}): ${difference}`;
  }
  return undefined;
}

/** caps.jsonl: some steps, then one KVM_MEMORY_ENCRYPT_OP. */
function runCapabilities(runner: StepRunner, { pre, pre_expect, cmd, expect }: Step): string | undefined {
  const before = runSteps(runner, pre, pre_expect, 'pre step');
  if (before) return before;
  return compare(runner.run(cmd), expect);
}

/** initvm.jsonl: a VM, some steps, KVM_TDX_INIT_VM, and then the CPUID of a vCPU. */
function runInitVm(runner: StepRunner, { pre, pre_expect, expect, ...init }: Step): string | undefined {
  runner.run({ op: 'create_vm', type: 5 });
  const before = runSteps(runner, pre ?? [], pre_expect ?? [], 'pre step');
  if (before) return before;
  const { cpuid, ...rest } = expect;
  const difference = compare(runner.run(initStep(init)), rest);
  if (difference || !cpuid) return difference;
  for (const step of [
    { op: 'enable_cap', cap: 121, args: [24] },
    { op: 'create_vcpu', id: 0 },
  ])
    runner.run(step);
  const { cpuid: found } = runner.run({ op: 'tdx', vcpu: 0, id: 5, buf: '00010000', buf_len: 8 + 40 * 256 });
  return compare({ cpuid: found }, { cpuid });
}

function initStep({ init, flags, hw_error_in, cmd_len, buf_len, inject }: Step): Step {
  const bytes = Buffer.from(init, 'hex');
  const nent = bytes.length > 256 ? Buffer.concat([bytes, Buffer.alloc(4)]).readUInt32LE(256) : 0;
  const mapped = buf_len ?? Math.max(bytes.length, 264 + 40 * Math.min(nent, 256));
  return { op: 'tdx', id: 1, buf: init, buf_len: mapped, flags, hw_error: hw_error_in, cmd_len, inject };
}

/** Differences between what a step did and what the vector says; the kernel log is informative only. */
function compare(found: StepResult, { dmesg, ...expected }: StepResult): string | undefined {
  for (const key of new Set([...Object.keys(found), ...Object.keys(expected)])) {
    const [is, should] = [JSON.stringify(normal(found[key])), JSON.stringify(normal(expected[key]))];
    if (is !== should) return `${key} is ${is?.slice(0, 300)}, expected ${should?.slice(0, 300)}`;
  }
  return undefined;
}

/** Numbers and hexadecimal numbers in one notation, whatever the nesting. */
function normal(value: unknown): unknown {
  if (typeof value === 'bigint' || typeof value === 'number') return `0x${value.toString(16)}`;
  if (Array.isArray(value)) return value.map(normal);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, normal(inner)]));
  return value;
}
