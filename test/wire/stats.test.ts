import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { io } from '../../src/wire/layout/ioctl.js';
import { WireServer } from '../../src/wire/server.js';
import { type Descriptor, TestThread } from './client.js';
import { buildTd, type WireTd } from './td.js';

const GET_STATS_FD = io(0xce);

let server: WireServer;
let thread: TestThread;
let td: WireTd;

beforeAll(async () => {
  server = await WireServer.listen(new MockHost(loadProfile('spr-1.5.05')));
  thread = await TestThread.start(server.path);
  td = await buildTd(thread);
});
afterAll(() => server.close());

let nextId = 0x57a7n;

/** What the descriptor of KVM_GET_STATS_FD reads. */
async function statistics(object: Descriptor): Promise<{ file: Buffer; mode: number }> {
  const newObject = nextId++;
  const answer = await thread.call({ object: object.id, request: GET_STATS_FD, newObject });
  expect(answer).toMatchObject({ result: 0, made: false, file: true });
  const path = join(dirname(server.path), `file-${newObject.toString(16).padStart(16, '0')}`);
  return { file: readFileSync(path), mode: statSync(path).mode & 0o777 };
}

/** As a program reads it (Documentation/virt/kvm/api.rst 4.133). */
function parse(file: Buffer) {
  const [flags, nameSize, count, idAt, descriptorsAt, dataAt] = [0, 4, 8, 12, 16, 20].map((at) =>
    file.readUInt32LE(at),
  );
  const text = (at: number) => file.toString('latin1', at, file.indexOf(0, at));
  const statistics = Array.from({ length: count! }, (_, i) => {
    const at = descriptorsAt! + i * (16 + nameSize!);
    const offset = file.readUInt32LE(at + 8);
    const size = file.readUInt16LE(at + 6);
    const values = Array.from({ length: size }, (_, j) => file.readBigUInt64LE(dataAt! + offset + 8 * j));
    return { name: text(at + 16), flags: file.readUInt32LE(at), exponent: file.readInt16LE(at + 4), values };
  });
  const end = dataAt! + statistics.reduce((sum, { values }) => sum + 8 * values.length, 0);
  return { flags, nameSize, id: text(idAt!), statistics, end };
}

describe('KVM_GET_STATS_FD', () => {
  it('of a VM gives a file that can only be read, with the statistics of KVM and an id of the process', async () => {
    const { file, mode } = await statistics(td.vm);
    const { statistics: found, id, flags, end } = parse(file);
    expect({ id, flags, end, mode }).toEqual({ id: `kvm-${process.pid}`, flags: 0, end: file.length, mode: 0o400 });
    expect(found).toHaveLength(15);
    expect(found[0]).toEqual({ name: 'remote_tlb_flush', flags: 0, exponent: 0, values: [0n] });
    expect(found.at(-1)).toEqual({ name: 'max_mmu_page_hash_collisions', flags: 2, exponent: 0, values: [0n] });
  });

  it('of a vCPU names it, with times and histograms', async () => {
    const { file } = await statistics(td.vcpu);
    const { statistics: found, id, end } = parse(file);
    expect({ id, end }).toEqual({ id: `kvm-${process.pid}/vcpu-0`, end: file.length });
    expect(found).toHaveLength(45);
    // Seconds, to the base of 10: nanoseconds.
    expect(found.find(({ name }) => name === 'halt_wait_ns')).toMatchObject({ flags: 0x20, exponent: -9 });
    const histogram = found.find(({ name }) => name === 'halt_wait_hist');
    expect(histogram).toMatchObject({ flags: 0x24, exponent: -9 });
    expect(histogram?.values).toHaveLength(32);
    expect(found.find(({ name }) => name === 'guest_mode')).toMatchObject({ flags: 0x41 });
  });

  it('is refused without a free id for the file, and on /dev/kvm', async () => {
    const call = (object: Descriptor, newObject: bigint) =>
      thread.call({ object: object.id, request: GET_STATS_FD, newObject });
    expect(await call(td.vm, 0n)).toMatchObject({ result: -5 });
    expect(await call(td.kvm, nextId++)).toMatchObject({ result: -22 });
  });
});
