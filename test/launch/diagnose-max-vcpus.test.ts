import { expect, test } from 'vitest';
import { KvmError } from '../../src/kvm/errors.js';
import { applyMaxVcpus } from '../../src/launch/max-vcpus.js';
import { TdConfigError } from '../../src/td/errors.js';
import { FakeVm, refuse } from './fake-vm.js';

const fixed = () => new FakeVm({ maxVcpus: 8 }).asKvmVm();
const settable = (limit = 64) =>
  new FakeVm({ maxVcpus: 8, setMaxVcpus: (wanted) => (wanted > limit ? refuse('E2BIG') : wanted) }).asKvmVm();

const findingsOf = (run: () => unknown) => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(TdConfigError);
    return (error as TdConfigError).findings;
  }
  throw new Error('nothing was thrown');
};

test('without a wish the kernel’s number stands', () => {
  expect(applyMaxVcpus(fixed(), undefined)).toMatchObject({ limit: 8, reported: 8, set: false });
  expect(applyMaxVcpus(fixed(), 8)).toMatchObject({ limit: 8, reported: 8, set: false });
});

test('a kernel that lets a VM set it gets the number, and the VM reports it', () => {
  const vm = settable();
  expect(applyMaxVcpus(vm, 32)).toMatchObject({ limit: 32, reported: 32, set: true });
  expect(vm.checkExtension(66)).toBe(32);
  expect(applyMaxVcpus(settable(), 2)).toMatchObject({ limit: 2, reported: 2, set: true });
});

test('a kernel that fixes it: a lower number is kept by the library', () => {
  expect(applyMaxVcpus(fixed(), 4)).toEqual({
    limit: 4,
    reported: 8,
    set: false,
    reason:
      'kept by this library, TD_PARAMS.MAX_VCPUS is 8: this kernel fixes it at 8 for every TD, ' +
      "the smaller of KVM's limit and the present processors",
  });
});

test('a kernel that fixes it: a higher number is refused with the limit and its reason', () => {
  const [only] = findingsOf(() => applyMaxVcpus(fixed(), 9));
  expect(only).toMatchObject({ rule: 'trap.max-vcpus-kernel', path: 'maxVcpus', severity: 'error' });
  expect(only?.what).toMatch(/maxVcpus is 9, more than the 8 .* this kernel fixes it at 8/);
  expect(only?.fix).toBe('Ask for at most 8');
});

test('more than a settable kernel allows is refused for that reason', () => {
  const [only] = findingsOf(() => applyMaxVcpus(settable(), 65));
  expect(only?.what).toContain('this kernel lets a VM set it, but refuses 65 (E2BIG)');
});

test('a kernel that takes a number and reports another is not believed', () => {
  const liar = () => new FakeVm({ maxVcpus: 8, setMaxVcpus: () => 8 }).asKvmVm();
  expect(applyMaxVcpus(liar(), 4)).toMatchObject({ limit: 4, reported: 8, set: false });
  expect(findingsOf(() => applyMaxVcpus(liar(), 9))[0]?.what).toContain('the kernel took 9 and reports 8');
});

test('another failure, such as EBUSY after a vCPU was created, is the kernel’s to tell', () => {
  const vm = new FakeVm({ maxVcpus: 8, setMaxVcpus: () => refuse('EBUSY') }).asKvmVm();
  expect(() => applyMaxVcpus(vm, 4)).toThrow(KvmError);
});
