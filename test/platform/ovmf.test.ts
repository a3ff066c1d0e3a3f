import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadImageFile } from '../../src/image/index.js';
import { openKvm, TrustDomain } from '../../src/index.js';
import { Milestones, q35Platform } from '../../src/launch/platform/index.js';
import type { GuestTrace } from '../../src/mock/index.js';

const OVMF = '/usr/share/ovmf/OVMF.fd';
// Debian 12: 2022.11-6+deb12u2. Its way is known; another build's is not.
const SHA256 = '7b456907dd0786d415999e801a1ac4637b8ed4d7cf5378cfc6edbe5e574dd773';
const here = existsSync(OVMF) ? createHash('sha256').update(readFileSync(OVMF)).digest('hex') : undefined;
const why = here === undefined ? `${OVMF} is not there` : here === SHA256 ? undefined : `${OVMF} is another build`;
if (why) console.warn(`Skipped, tests of firmware: ${why}`);

const MIB = 1 << 20;
const LEAF_VMCALL = 0;

/** Runs OVMF in the interpreter until it has made `enough` requests to its host. */
async function runOvmf(enough: number, profile?: string) {
  const stop = new AbortController();
  const milestones = new Milestones();
  const vmcalls: (GuestTrace & { kind: 'tdcall' })[] = [];
  using system = openKvm({
    backend: 'mock',
    engine: 'interpreter',
    ...(profile && { profile }),
    onGuest(event) {
      milestones.guest(event);
      if (event.kind !== 'tdcall' || event.leaf !== LEAF_VMCALL) return;
      vmcalls.push(event);
      if (vmcalls.length === enough) stop.abort();
    },
  });
  using td = await TrustDomain.create(system, { vcpus: 1, memory: 64 * MIB }, { image: loadImageFile(OVMF) });
  const devices = q35Platform({ memory: 64 * MIB });
  const { how } = await td.run({ signal: stop.signal, timeout: 50_000, devices });
  return { how, milestones, vmcalls, devices };
}

describe.skipIf(why)("Debian 12's OVMF on the model", () => {
  it('accepts all memory of its TD HOB, and is refused its first request: Linux 6.16 sets NO_RBP_MOD', async () => {
    const { how, milestones, vmcalls } = await runOvmf(1);
    expect(how).toBe('aborted');
    // 64 MiB without the 26 pages that were there at the start
    const by = `the first request to the host, ${64 * 1024 - 26 * 4} KiB accepted`;
    expect(milestones.last).toMatchObject({ name: 'memory-accepted', reached: { by } });
    expect(vmcalls).toMatchObject([{ rule: 'module.vmcall.mask' }]);
  });

  it('goes on where the kernel does not: finds a q35 chipset and switches its power management on', async () => {
    const { vmcalls, devices } = await runOvmf(20, 'spr-1.5.06-rbp');
    expect(vmcalls.filter(({ rule }) => rule !== undefined)).toEqual([]);
    const port = (first: number) => devices.ports.find((device) => device.first === first)!;
    expect(port(0x600).read(0x608, 4)).toBeLessThan(0x100_0000);
    port(0xcf8).write(0xcf8, 4, 0x8000_f840);
    expect(port(0xcf8).read(0xcfc, 4)).toBe(0x601);
  });
});
