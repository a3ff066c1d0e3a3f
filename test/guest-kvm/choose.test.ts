import { describe, expect, it } from 'vitest';
import { KvmError } from '../../src/kvm/index.js';
import { chooseEngine } from '../../src/mock/guest/choose.js';
import { probe } from '../../src/mock/guest/kvm/probe.js';
import { openMock } from '../../src/mock/index.js';
import { open, unusable } from './kernel.js';

const refused = (): never => {
  throw new KvmError({ errno: 13, request: 'KVM device', syscall: 'open', path: '/dev/kvm' });
};

describe('the choice of an engine', () => {
  it.skipIf(unusable !== undefined)('takes KVM where it works, and says so', async () => {
    const engine = await chooseEngine({ wanted: 'kvm', plainKvm: open });
    expect(engine.name).toBe('kvm');
    expect(engine.description).toMatch(/^a plain VM of .* \(as wanted\)$/);
    engine.close();
  });

  it.skipIf(unusable !== undefined)('takes it by itself where it also hides features from its guests', async () => {
    const system = open();
    const { unhidden } = await probe(system);
    system.close();
    const engine = await chooseEngine({ wanted: 'auto', plainKvm: open });
    if (unhidden === 0) {
      expect(engine.description).toMatch(/^a plain VM of .* \(this host’s KVM can run plain VMs\)$/);
    } else {
      expect(engine.name).toBe('interpreter');
      expect(engine.description).toMatch(/guests see features in CPUID that were hidden from them\)$/);
    }
    engine.close();
  });

  it('takes the interpreter elsewhere, and says why', async () => {
    const engine = await chooseEngine({ wanted: 'auto', plainKvm: refused });
    expect(engine.name).toBe('interpreter');
    expect(engine.description).toMatch(/\(engine kvm is not possible: EACCES: .*\/dev\/kvm.*\)$/);
    engine.close();
  });

  it('takes the interpreter where it is wanted, whatever the host has', async () => {
    const engine = await chooseEngine({ wanted: 'interpreter', plainKvm: refused });
    expect(engine.name).toBe('interpreter');
    engine.close();
  });

  it.each([
    ['cannot be opened', refused, /EACCES/],
    ['is not given', undefined, /no real KVM was given/],
    ['runs no guests', () => openMock(), /a guest's|SHARED bit/],
  ])('refuses to do with less than KVM where KVM is wanted and %s', async (_, plainKvm, reason) => {
    const error = await chooseEngine({ wanted: 'kvm', plainKvm }).catch((thrown: Error) => thrown);
    expect(error).toMatchObject({ code: 'ERR_ENGINE_UNAVAILABLE' });
    expect((error as Error).message).toMatch(reason);
    expect((error as Error).message).toContain('choose the engine "interpreter"');
  });
});
