import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { iowr } from '../../src/wire/layout/ioctl.js';
import { kvmPreFaultMemory } from '../../src/wire/layout/state.js';
import { kvmMemoryAttributes } from '../../src/wire/layout/vm.js';
import { WireServer } from '../../src/wire/server.js';
import { TD_GPA } from '../kernel/launch.js';
import { TestThread } from './client.js';
import { addPages, buildTd, mappedPages, REQUEST, tdx, type WireTd } from './td.js';

const [ENOENT, EFAULT, EINVAL] = [2, 14, 22];
const PAGE = 4096n;
const PAGES = 16n;

let server: WireServer;
let thread: TestThread;
let td: WireTd;

/** A finalized TD with one page of sixteen added. */
beforeEach(async () => {
  server = await WireServer.listen(new MockHost(loadProfile('spr-1.5.05')));
  thread = await TestThread.start(server.path);
  td = await buildTd(thread);
  await addPages(thread, td, mappedPages(1).address, 1);
  expect(await tdx(thread, td.vm, 'FINALIZE_VM')).toMatchObject({ result: 0 });
});
afterEach(() => server.close());

async function preFault(gpa: bigint, size: bigint, flags = 0n) {
  const bytes = kvmPreFaultMemory.encode({ gpa, size, flags });
  const answer = await thread.struct(td.vcpu, iowr(0xd5, 64), bytes);
  return { result: answer.result, ...kvmPreFaultMemory.decode(answer.bytes) };
}

const share = (address: bigint, size: bigint) =>
  thread.struct(td.vm, REQUEST.SET_MEMORY_ATTRIBUTES, kvmMemoryAttributes.encode({ address, size }));

describe('KVM_PRE_FAULT_MEMORY of a finalized TD', () => {
  it('adds private pages that the guest then only has to accept, and nothing to those that are there', async () => {
    const before = server.host.stats().pagesAllocated;
    expect(await preFault(TD_GPA, PAGES * PAGE)).toMatchObject({ result: 0, gpa: TD_GPA + PAGES * PAGE, size: 0n });
    expect(server.host.stats().pagesAllocated).toBe(before + Number(PAGES) - 1);
    expect(await preFault(TD_GPA, PAGES * PAGE)).toMatchObject({ result: 0, size: 0n });
    expect(server.host.stats().pagesAllocated).toBe(before + Number(PAGES) - 1);
  });

  it('stops at the end of the slot: success with what is left, then ENOENT or EFAULT', async () => {
    const end = TD_GPA + PAGES * PAGE;
    expect(await preFault(end - PAGE, 3n * PAGE)).toMatchObject({ result: 0, gpa: end, size: 2n * PAGE });
    expect(await preFault(end, 2n * PAGE)).toMatchObject({ result: -ENOENT, gpa: end, size: 2n * PAGE });
    const attributes = kvmMemoryAttributes.encode({ address: end, size: PAGE, attributes: 8n });
    expect(await thread.struct(td.vm, REQUEST.SET_MEMORY_ATTRIBUTES, attributes)).toMatchObject({ result: 0 });
    expect(await preFault(end, PAGE)).toMatchObject({ result: -EFAULT, gpa: end });
  });

  it('faults shared memory in where the process has it mapped', async () => {
    await share(TD_GPA + PAGE, PAGE);
    // The slot of the test has no memory of the process behind it.
    expect(await preFault(TD_GPA + PAGE, PAGE)).toMatchObject({ result: -EFAULT });
  });

  it.each([
    ['a shared bit', 1n << 47n, PAGE, 0n],
    ['no size', TD_GPA, 0n, 0n],
    ['half a page', TD_GPA, 2048n, 0n],
    ['an odd address', TD_GPA + 1n, PAGE, 0n],
    ['flags', TD_GPA, PAGE, 1n],
    ['an end behind the last address', -PAGE, PAGE, 0n],
  ])('refuses %s: EINVAL', async (_, gpa, size, flags) => {
    expect((await preFault(BigInt.asUintN(64, gpa), size, flags)).result).toBe(-EINVAL);
  });
});
