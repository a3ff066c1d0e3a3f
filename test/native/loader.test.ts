// How a user learns why the real kernel cannot be used.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { KvmError } from '../../src/kvm/index.js';
import { nativeStatus, openNative } from '../../src/native/index.js';
import { thrownBy } from '../contract/expect-refusal.js';

const library = new URL('../../dist/native/index.js', import.meta.url);
const loaded = nativeStatus().path !== undefined;

/** What nativeStatus() says in a process of its own. */
function statusWith(options: { env?: NodeJS.ProcessEnv; flags?: string[]; as?: number }): {
  available: boolean;
  path?: string;
  reason?: string;
} {
  const code = `
    import { nativeStatus } from ${JSON.stringify(library.href)};
    ${options.as === undefined ? '' : `process.setgroups([]); process.setgid(${options.as}); process.setuid(${options.as});`}
    console.log(JSON.stringify(nativeStatus()));`;
  const child = spawnSync(process.execPath, [...(options.flags ?? []), '--input-type=module', '-e', code], {
    encoding: 'utf8',
    env: { ...process.env, ...options.env },
  });
  expect(child.status, child.stderr).toBe(0);
  return JSON.parse(child.stdout);
}

describe.skipIf(!existsSync(library))('nativeStatus', () => {
  it('names every file that was tried when there is no addon, and how to get it', () => {
    const { available, reason } = statusWith({ env: { KVM_TDX_NATIVE: '/nowhere/kvm_tdx.node' } });
    expect(available).toBe(false);
    expect(reason).toMatch(/Tried \/nowhere\/kvm_tdx\.node: no such file/);
    expect(reason).toMatch(/unset KVM_TDX_NATIVE/);
  });

  it('says what is wrong with a file that is no addon', () => {
    const { available, reason } = statusWith({ env: { KVM_TDX_NATIVE: '/etc/hostname' } });
    expect(available).toBe(false);
    expect(reason).toContain('/etc/hostname: ');
  });

  it.skipIf(!loaded)('tells of Node flags that forbid addons', () => {
    const { available, reason } = statusWith({ flags: ['--no-addons'] });
    expect(available).toBe(false);
    expect(reason).toMatch(/--allow-addons|--no-addons/);
  });

  it.skipIf(!loaded || process.getuid?.() !== 0 || !existsSync('/dev/kvm'))(
    'tells a user without permission which group to join',
    () => {
      const { available, path, reason } = statusWith({ as: 65534 });
      if (available) return; // a device that everybody may open
      expect(path).toMatch(/kvm_tdx\.node$/);
      expect(reason).toMatch(/^EACCES: permission denied, open\(KVM device\) '\/dev\/kvm'; .*group/);
    },
  );
});

describe.skipIf(!loaded)('openNative', () => {
  it('tells of a missing device, with what to load', () => {
    const error = thrownBy(() => openNative({ path: '/dev/no-kvm' }));
    expect(error).toBeInstanceOf(KvmError);
    expect(error).toMatchObject({ code: 'ENOENT', syscall: 'open', path: '/dev/no-kvm' });
    expect((error as Error).message).toMatch(/modprobe kvm_intel/);
  });

  it('refuses a device that is not KVM, and does not keep it open', () => {
    expect(thrownBy(() => openNative({ path: '/dev/null' }))).toMatchObject({
      code: 'ENOTTY',
      request: 'KVM_GET_API_VERSION',
    });
  });

  it('takes only a string for the path', () => {
    expect(thrownBy(() => openNative({ path: 1 as never }))).toBeInstanceOf(TypeError);
  });
});
