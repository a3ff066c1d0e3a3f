import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { interpreterEngine } from '../../src/mock/guest/interpreter/index.js';
import { FakeSpace } from './fake-space.js';

const IMAGE = readFileSync(new URL('../../images/minimal.bin', import.meta.url));
const [RAX, RCX, RBX] = [0, 1, 3];
const [R8, R10, R11, R14, R15] = [8, 10, 11, 14, 15];

it('the minimal TD reaches long mode, asks for its VP.INFO and greets', async () => {
  const space = new FakeSpace();
  space.map(2 ** 32 - IMAGE.length, IMAGE);
  space.map(0x10000, new Uint8Array(0x4000));
  const engine = interpreterEngine();
  const td = engine.openTd(space);
  const registers = new BigUint64Array(16);
  registers[RBX] = 48n;
  const vcpu = td.createVcpu(0, registers);
  let text = '';
  let status: bigint | undefined;
  while (status === undefined) {
    const event = await vcpu.run(AbortSignal.timeout(5000));
    if (event.kind !== 'tdcall') throw new Error(JSON.stringify(event, (_, x) => (typeof x === 'bigint' ? `${x}` : x)));
    const { gprs } = vcpu;
    vcpu.rip += BigInt(event.length);
    if (gprs[RAX] === 1n) {
      gprs.set([0n, 48n, 0x1000_0000n], RAX);
      gprs[R8] = 0x0000_0004_0000_0001n;
      continue;
    }
    expect([gprs[RAX], gprs[RCX], gprs[R10]]).toEqual([0n, 0xfc00n, 0n]);
    if (gprs[R11] === 30n && gprs[R14] === 0x3f8n) text += String.fromCharCode(Number(gprs[R15]));
    else if (gprs[R11] === 30n && gprs[R14] === 0xf4n) status = gprs[R15];
    gprs[RAX] = 0n;
  }
  engine.close();
  expect(text).toContain('Hello from a Trust Domain: GPAW 48, vCPUs 1 of at most 4, attributes 0x0000000010000000\n');
  expect(status).toBe(0n);
});
