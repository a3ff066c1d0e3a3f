// What executing a TD's code of CPL 0 costs where KVM emulates it: a loop, and instructions that need privilege, emulated and
// at CPL 3.
import { kvmEngine } from '../dist/mock/guest/kvm/engine.js';
import { openNative } from '../dist/native/index.js';
import { best, report } from './common.mjs';

const PAGE = 4096;
const [CODE, PML4, PDPT, DIRECTORY, END] = [0x1000, 0x2000, 0x3000, 0x4000, 0x5000];

/** 64-bit code of CPL 0 in a TD of the engine, about to run. */
function guest(engine, code) {
  const bytes = new Uint8Array(END);
  const words = new BigUint64Array(bytes.buffer);
  bytes.set(code, CODE);
  words[PML4 / 8] = BigInt(PDPT) | 3n;
  words[PDPT / 8] = BigInt(DIRECTORY) | 3n;
  words[DIRECTORY / 8] = 0x83n;
  const td = engine.openTd({
    sharedBit: 2 ** 47,
    privatePage: (gpa) => ({ state: 'mapped', bytes: bytes.subarray(gpa, gpa + PAGE) }),
    readShared: () => undefined,
    writeShared: () => false,
    cpuid: () => undefined,
  });
  td.pagesMapped(0, END);
  const vcpu = td.createVcpu(0, new BigUint64Array(16));
  const { state } = vcpu;
  Object.assign(state, { cr0: 0x8001_0033, cr3: PML4, cr4: 0x620, efer: 0xd01, ip: CODE });
  state.cs.set(8, 0, 0xffff_ffff, 0xa09b);
  state.ss.set(16, 0, 0xffff_ffff, 0xc093);
  return { td, vcpu };
}

/** @param body between mov ecx, n and dec ecx; jnz. Seconds for n rounds. */
async function seconds(engine, n, body) {
  const back = -(body.length + 4);
  const code = [0xb9, n, n >> 8, n >> 16, n >> 24, ...body, 0xff, 0xc9, 0x75, back, 0xf4].map((byte) => byte & 0xff);
  const { td, vcpu } = guest(engine, code);
  const start = performance.now();
  const event = await vcpu.run(AbortSignal.timeout(60_000));
  if (event.name !== 'hlt') throw new Error(`the guest ended with ${JSON.stringify(event)}`);
  const elapsed = (performance.now() - start) / 1000;
  td.close();
  return elapsed;
}

try {
  const emulating = await kvmEngine(openNative, { deprivilege: false });
  const engine = await kvmEngine(openNative);
  if (engine.description.includes('runs at CPL 3')) {
    const slow = 2e5 / (await best(2, () => seconds(emulating, 1e5, [])));
    const fast = 2e9 / (await best(2, () => seconds(engine, 1e9, [])));
    report('instructions of a loop at CPL 0', {
      ours: fast / 1e6,
      theirs: slow / 1e6,
      unit: 'M/s',
      ratio: fast / slow,
    });
    const cli = [0xfa];
    const inKvm = 1e5 / (await best(2, () => seconds(emulating, 1e5, cli)));
    const stepped = 1e4 / (await best(2, () => seconds(engine, 1e4, cli)));
    report('CLI, a privileged instruction', { ours: stepped, theirs: inKvm, unit: '/s', ratio: stepped / inKvm });
  } else {
    console.log(`guest: skipped (${engine.description})`);
  }
  emulating.close();
  engine.close();
} catch (error) {
  console.log(`guest: skipped (${error.message})`);
}
