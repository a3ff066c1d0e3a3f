import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { describe, expect, it } from 'vitest';
import { machineReaders, type NativeAccess } from '../../src/host/machine-readers.js';
import { found, missing } from '../../src/host/readers.js';
import { checkHost } from '../../src/host/report.js';
import type { KvmSystem } from '../../src/kvm/index.js';

const none: NativeAccess = {
  addon: () => missing('ENOADDON', 'not built'),
  cpuid: () => missing('ENOADDON', 'not built'),
  open: () => {
    throw new Error('opened without an addon');
  },
};

const onLinux = process.platform === 'linux';

describe('the readers of this machine', () => {
  const readers = machineReaders(none);

  it.runIf(onLinux)('read files without the newline at their end', () => {
    expect(readers.file('/proc/sys/kernel/osrelease')).toEqual({ ok: true, value: release() });
    expect(readers.file('/proc/cpuinfo')).toEqual({ ok: true, value: readFileSync('/proc/cpuinfo', 'utf8').trimEnd() });
  });

  it('give the errno of what cannot be read', () => {
    expect(readers.file('/no/such/file')).toMatchObject({ ok: false, code: 'ENOENT' });
    expect(readers.writable('/no/such/file')).toMatchObject({ ok: false, code: 'ENOENT' });
  });

  it.runIf(onLinux)('read the kernel log to its end without waiting, or say why not', () => {
    const log = readers.kernelLog();
    if (log.ok) expect(log.value).not.toMatch(/^\d+,\d+,\d+,/m);
    else expect(log.code).toMatch(/^E[A-Z]+$/);
  });

  it.runIf(onLinux)('read a register, or say why not', () => {
    const tsc = readers.msr(0x10);
    if (tsc.ok) expect(tsc.value).toBeGreaterThan(0n);
    else expect(tsc.code).toMatch(/^E[A-Z]+$/);
  });

  it('have no KVM without an addon, and do not try', () => {
    expect(readers.kvm()).toEqual({ ok: false, code: 'ENOADDON', reason: 'no addon to ask with' });
  });
});

describe('KVM', () => {
  it('is opened once and closed with the readers', () => {
    let opened = 0;
    let closed = 0;
    const open = () => {
      opened++;
      return { closed: false, close: () => closed++ } as unknown as KvmSystem;
    };
    const readers = machineReaders({ ...none, addon: () => found('x.node'), open });
    expect(readers.kvm()).toBe(readers.kvm());
    readers.close();
    readers.close();
    expect([opened, closed]).toEqual([1, 1]);
  });

  it('that cannot be opened is a reading, not an error', () => {
    const open = () => {
      throw Object.assign(new Error('EACCES: permission denied, open(KVM device)'), { code: 'EACCES' });
    };
    const readers = machineReaders({ ...none, addon: () => found('x.node'), open });
    expect(readers.kvm()).toMatchObject({ ok: false, code: 'EACCES' });
  });
});

it('this machine can be checked whatever it is', () => {
  const report = checkHost(machineReaders(none));
  expect(report.ready).toBe(false);
  expect(report.checks.find(({ id }) => id === 'kvm.addon')).toMatchObject({ status: 'fail', detail: 'not built' });
});
