import { afterEach, beforeEach, describe } from 'vitest';
import { KVM_CAP, KVM_X86_TDX_VM } from '../../src/kvm/constants.js';
import type { KvmSystem } from '../../src/kvm/index.js';
import { nativeStatus } from '../../src/native/index.js';
import { type OpenOptions, openKvm } from '../../src/open.js';

/** What the conformance suite has to know about an implementation of the seam, and nothing more. */
export interface Backend {
  readonly name: string;
  /** Why it cannot be tested here. */
  readonly absent?: string;
  /** KVM offers TDX VMs. */
  readonly tdx: boolean;
  /** KVM_CHECK_EXTENSION on the system. */
  readonly has: (capability: number) => number;
  open(): KvmSystem;
}

const backend = (name: string, options: OpenOptions, absent?: string): Backend => {
  const open = () => openKvm(options);
  if (absent !== undefined) return { name, absent, tdx: false, has: () => 0, open };
  const has = (capability: number): number => {
    using system = open();
    return system.checkExtension(capability);
  };
  return { name, tdx: (has(KVM_CAP.VM_TYPES) & (1 << KVM_X86_TDX_VM)) !== 0, has, open };
};

const status = nativeStatus();
export const model = backend('the model', { backend: 'mock' });
const interpreted = backend('the model with the interpreter', { backend: 'mock', engine: 'interpreter' });
export const kernel = backend('the kernel', { backend: 'native' }, status.available ? undefined : status.reason);

const told = new Set<string>();

/** Once a file. */
function tell(reason: string): void {
  if (!told.has(reason)) console.warn(reason);
  told.add(reason);
}

/** Tests that need the real KVM. Where there is none they are skipped, and the reason is printed. */
export function describeOnKernel(title: string, body: () => void): void {
  if (kernel.absent === undefined) {
    describe(title, body);
    return;
  }
  tell(`Skipped, tests of the kernel's KVM: ${kernel.absent}`);
  describe.skip(`${title} (skipped: ${kernel.absent})`, body);
}

type Body = (use: () => KvmSystem, backend: Backend) => void;

/** The tests on one backend, each with a system of its own. */
const tests = (backend: Backend, body: Body) => () => {
  let system: KvmSystem | undefined;
  beforeEach(() => {
    system = backend.open();
  });
  afterEach(() => system?.close());
  body(() => system!, backend);
};

/** The same tests on every backend; `use` gives the system that is open during a test. */
export function describeOnEach(title: string, body: Body): void {
  describe(`${title}, on ${model.name}`, tests(model, body));
  describeOnKernel(`${title}, on ${kernel.name}`, tests(kernel, body));
}

/** The same tests on every backend that offers TDX VMs: the model, and the kernel of a TDX host. */
export function describeOnTdx(title: string, body: Body): void {
  describeOnEach(title, (use, backend) => {
    if (backend.tdx) {
      body(use, backend);
      return;
    }
    tell('Skipped, tests of TDs on the kernel: KVM here does not offer TDX VMs');
    describe.skip('no TDX VMs here', () => body(use, backend));
  });
}

/** As describeOnTdx, for TDs that execute: the model with what it takes by itself for its guests, and with the interpreter. */
export function describeOnRunningTds(title: string, body: Body): void {
  describeOnTdx(title, body);
  describe(`${title}, on ${interpreted.name}`, tests(interpreted, body));
}
