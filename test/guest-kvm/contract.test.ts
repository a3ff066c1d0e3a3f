import { afterAll, describe } from 'vitest';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import { kvmEngine } from '../../src/mock/guest/kvm/engine.js';
import { describeEngine } from '../guest/engine-contract.js';
import type { FakeSpace } from '../guest/fake-space.js';
import { canDeprivilege, open, unusable } from './kernel.js';

/** What a module does and the contract's space does not: it tells of pages that are put there. */
function withModule(engine: GuestEngine): GuestEngine {
  return {
    ...{ name: engine.name, description: engine.description },
    openTd(given) {
      const space = given as FakeSpace;
      const td = engine.openTd(space);
      const map = space.map.bind(space);
      space.map = (gpa, bytes = new Uint8Array(0x1000)) => {
        map(gpa, bytes);
        td.pagesMapped(gpa, Math.ceil(bytes.length / 0x1000) * 0x1000);
      };
      return td;
    },
    close: () => {},
  };
}

if (unusable !== undefined) {
  describe.skip(`the kvm engine (skipped: ${unusable})`, () => {});
} else {
  for (const patchTdcall of [false, true]) {
    for (const deprivilege of canDeprivilege ? [false, true] : [false]) {
      const engine = await kvmEngine(open, { patchTdcall, deprivilege });
      afterAll(() => engine.close());
      const how = [...(patchTdcall ? ['TDCALL replaced'] : []), ...(deprivilege ? ['CPL 0 at CPL 3'] : [])].join(', ');
      describeEngine(how === '' ? 'kvm' : `kvm (${how})`, () => withModule(engine));
    }
  }
}
