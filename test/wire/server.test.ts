import { existsSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { openMock } from '../../src/mock/index.js';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { WireServer } from '../../src/wire/server.js';
import { addPages as addSeamPages, buildTd as buildSeamTd, TD_GPA } from '../kernel/launch.js';
import { ARGUMENT, type Descriptor, TestSocket, TestThread } from './client.js';
import { addPages, buildTd, initVmBytes, mappedPages, REQUEST, tdx } from './td.js';

const [EIO, EBADF, EFAULT, EINTR, ENOTTY, EINVAL, ENOSPC] = [5, 9, 14, 4, 25, 22, 28];

let server: WireServer | undefined;
const reports: Error[] = [];

async function start(): Promise<WireServer> {
  reports.length = 0;
  server = await WireServer.listen(new MockHost(loadProfile('spr-1.5.05')), { report: (error) => reports.push(error) });
  return server;
}

afterEach(async () => {
  const host = server?.host;
  await server?.close();
  // Whatever a test did: nothing of it is left on the host, and no bug of the model's was seen.
  expect(host?.stats()).toMatchObject({ vms: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 });
  expect(reports.filter(({ name }) => name !== 'ProtocolError')).toEqual([]);
  server = undefined;
});

/** Waits until something is so. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 500) throw new Error('it never became so');
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

describe('a program that launches a TD', () => {
  it('gets the measurement that the same launch has through the library', async () => {
    const { path, host } = await start();
    const thread = await TestThread.start(path);
    const td = await buildTd(thread);
    const { address, content } = mappedPages(3);
    expect(await addPages(thread, td, address, 3)).toMatchObject({
      result: 0,
      region: { source_addr: address + 0x3000n, gpa: TD_GPA + 0x3000n, nr_pages: 0n },
    });
    expect(await tdx(thread, td.vm, 'FINALIZE_VM')).toMatchObject({ result: 0, hwError: 0n });

    using system = openMock({ profile: 'spr-1.5.05' });
    const built = buildSeamTd(system);
    built.memory.write(0, content);
    addSeamPages(built, 3);
    built.vm.tdx.finalizeVm();
    const { mockMrtd } = await import('../../src/mock/index.js');
    const [vm] = [...host.vms];
    expect(Buffer.from(vm!.td!.mrtd!).toString('hex')).toBe(Buffer.from(mockMrtd(built.vm)!).toString('hex'));
    thread.end();
  });

  it('gets EFAULT for a source that it has not mapped, and the page that it is at', async () => {
    const { path } = await start();
    const thread = await TestThread.start(path);
    const td = await buildTd(thread);
    expect(await addPages(thread, td, 0x1000n, 1)).toMatchObject({ result: -EFAULT, region: { gpa: TD_GPA } });
    thread.end();
  });

  it('gets hw_error back where the module refused', async () => {
    const { path } = await start();
    const thread = await TestThread.start(path);
    const kvm = await thread.open();
    const vm = await thread.make(kvm, REQUEST.CREATE_VM, 5n);
    if (typeof vm === 'number') throw new Error('no VM');
    const answer = await tdx(thread, vm, 'FINALIZE_VM');
    expect(answer).toMatchObject({ result: -EINVAL, hwError: 0n });
    thread.end();
  });
});

describe('descriptors', () => {
  it('keep a VM alive until the last of VM, vCPU and guest_memfd is closed', async () => {
    const { path, host } = await start();
    const thread = await TestThread.start(path);
    const td = await buildTd(thread);
    for (const descriptor of [td.kvm, td.vm, td.vcpu]) descriptor.close();
    await until(() => server!.stats.objects === 1);
    expect(host.stats().vms).toBe(1);
    td.memfd.close();
    await until(() => host.stats().vms === 0);
    thread.end();
  });

  it('that are closed are gone for the very next request: a KeyID that was the last can be had again', async () => {
    const thread = await TestThread.start((await start()).path);
    const kvm = await thread.open();
    const vms: Descriptor[] = [];
    const initVm = async (): Promise<number> => {
      vms.push((await thread.make(kvm, REQUEST.CREATE_VM, 5n)) as Descriptor);
      return (await tdx(thread, vms.at(-1)!, 'INIT_VM', initVmBytes())).result;
    };
    let result = 0;
    while (result === 0 && vms.length < 1000) result = await initVm();
    expect(result).toBe(-ENOSPC);
    const waiting = vms.pop()!;
    vms.pop()!.close();
    // In the same turn, so the server finds both at once.
    expect(await tdx(thread, waiting, 'INIT_VM', initVmBytes())).toMatchObject({ result: 0 });
    for (const descriptor of [kvm, waiting, ...vms]) descriptor.close();
    thread.end();
  });

  it('that are closed answer EBADF', async () => {
    const { path } = await start();
    const thread = await TestThread.start(path);
    const kvm = await thread.open();
    kvm.close();
    await until(() => server!.stats.objects === 0);
    expect(await thread.ioctl(kvm, REQUEST.CHECK_EXTENSION)).toMatchObject({ result: -EBADF });
    thread.end();
  });

  it('of what a program never took over are released with its next call or its end', async () => {
    const { path, host } = await start();
    const thread = await TestThread.start(path);
    const kvm = await thread.open();
    const create = { object: kvm.id, request: REQUEST.CREATE_VM, arg: 5n };
    expect(await thread.call({ ...create, newObject: 1n })).toMatchObject({ made: true });
    expect(host.stats().vms).toBe(1);
    await thread.ioctl(kvm, REQUEST.CHECK_EXTENSION);
    expect(host.stats().vms).toBe(0);
    expect(await thread.call({ ...create, newObject: 2n })).toMatchObject({ made: true });
    thread.end();
    await until(() => host.stats().vms === 0);
  });

  it('of a VM are of no use to another process', async () => {
    const { path } = await start();
    const thread = await TestThread.start(path);
    const child = await TestThread.start(path, 1);
    const kvm = await thread.open();
    const vm = await thread.make(kvm, REQUEST.CREATE_VM, 5n);
    if (typeof vm === 'number') throw new Error('no VM');
    expect(await child.ioctl(vm, REQUEST.CHECK_EXTENSION)).toMatchObject({ result: -EIO });
    expect(await child.ioctl(kvm, REQUEST.CHECK_EXTENSION)).toMatchObject({ result: 1 });
    thread.end();
    child.end();
  });
});

describe('requests that KVM does not know', () => {
  it('are EINVAL on /dev/kvm and on a vCPU, ENOTTY on a VM and on a guest_memfd', async () => {
    const { path } = await start();
    const thread = await TestThread.start(path);
    const td = await buildTd(thread);
    for (const [descriptor, errno] of [
      [td.kvm, EINVAL],
      [td.vcpu, EINVAL],
      [td.vm, ENOTTY],
      [td.memfd, ENOTTY],
    ] as const) {
      expect(await thread.ioctl(descriptor, 0xaeff)).toMatchObject({ result: -errno });
    }
    thread.end();
  });
});

describe('KVM_RUN', () => {
  it('of a vCPU that waits is ended by a signal, and other calls go on meanwhile', async () => {
    const { path } = await start();
    const [runner, other] = [await TestThread.start(path), await TestThread.start(path)];
    const td = await buildTd(runner);
    const created = await runner.make(td.vm, REQUEST.CREATE_VCPU, 1n);
    if (typeof created === 'number') throw new Error('no vCPU');
    const run = runner.ioctl(created, REQUEST.RUN);
    expect(await other.ioctl(td.vm, REQUEST.CHECK_EXTENSION)).toMatchObject({ result: 1 });
    // The vCPU's mutex: this one waits until the run is over.
    const queued = other.struct(created, 0x8004ae98 /* KVM_GET_MP_STATE */, new Uint8Array(4));
    runner.interrupt();
    expect(await run).toMatchObject({ result: -EINTR });
    await queued;
    runner.end();
    other.end();
  });

  it('of a thread that dies is ended, and its vCPU released', async () => {
    const { path, host } = await start();
    const [runner, owner] = [await TestThread.start(path), await TestThread.start(path)];
    const td = await buildTd(owner);
    const created = await owner.make(td.vm, REQUEST.CREATE_VCPU, 1n);
    if (typeof created === 'number') throw new Error('no vCPU');
    runner.ioctl(created, REQUEST.RUN).catch(() => {});
    for (const descriptor of [td.kvm, td.vm, td.vcpu, td.memfd, created]) descriptor.close();
    await until(() => server!.stats.objects === 1);
    expect(host.stats().vms).toBe(1);
    runner.end();
    await until(() => host.stats().vms === 0);
    owner.end();
  });

  it('shares its pages as a file beside the socket, as long as the vCPU lives', async () => {
    const { path } = await start();
    const folder = dirname(path);
    const thread = await TestThread.start(path);
    const td = await buildTd(thread);
    const name = `run-${td.vcpu.id.toString(16).padStart(16, '0')}`;
    expect(readdirSync(folder).sort()).toEqual([name, 'socket']);
    expect(await thread.call({ object: td.vcpu.id, operation: 2, operands: [4096n] })).toMatchObject({ result: 0 });
    expect(await thread.call({ object: td.vm.id, operation: 2, operands: [4096n] })).toMatchObject({ result: -19 });
    td.vcpu.close();
    await until(() => !existsSync(`${folder}/${name}`));
    thread.end();
  });
});

describe('fallocate() of a guest_memfd', () => {
  const punch = (offset: bigint, length: bigint, mode = 3n) => ({ operation: 1, operands: [mode, offset, length] });

  it('punches holes, allocates, and refuses what the kernel refuses', async () => {
    const { path, host } = await start();
    const thread = await TestThread.start(path);
    const { memfd, vm } = await buildTd(thread);
    const before = host.stats().pagesAllocated;
    const call = async (object: bigint, what: object) => (await thread.call({ object, ...what })).result;
    expect(await call(memfd.id, punch(0n, 0x2000n, 1n))).toBe(0);
    expect(host.stats().pagesAllocated).toBe(before + 2);
    expect(await call(memfd.id, punch(0n, 0x1000n))).toBe(0);
    expect(host.stats().pagesAllocated).toBe(before + 1);
    expect(await call(memfd.id, punch(0n, 0x1001n))).toBe(-EINVAL);
    expect(await call(memfd.id, punch(-1n, 0x1000n))).toBe(-EINVAL);
    expect(await call(memfd.id, punch(0n, 0x1000n, 2n))).toBe(-95);
    expect(await call(memfd.id, punch(0n, 0x11000n, 1n))).toBe(-EINVAL);
    expect(await call(vm.id, punch(0n, 0x1000n))).toBe(-19);
    thread.end();
  });
});

describe('the end of the server', () => {
  it('takes the socket away and ends what is under way', async () => {
    const { path, host } = await start();
    const thread = await TestThread.start(path);
    const td = await buildTd(thread);
    const created = await thread.make(td.vm, REQUEST.CREATE_VCPU, 1n);
    if (typeof created === 'number') throw new Error('no vCPU');
    const run = thread.ioctl(created, REQUEST.RUN);
    await server!.close();
    await expect(run).rejects.toThrow('closed the channel');
    expect(existsSync(dirname(path))).toBe(false);
    expect(host.stats().vms).toBe(0);
    await expect(TestSocket.connect(path)).rejects.toThrow();
  });
});

describe('memory that a call brought along', () => {
  it('that ends early is EFAULT where the kernel would read it', async () => {
    const { path } = await start();
    const thread = await TestThread.start(path);
    const td = await buildTd(thread);
    const pieces = [
      { address: ARGUMENT, bytes: new Uint8Array(100) },
      { address: ARGUMENT + 100n, bytes: null, length: 4 },
    ];
    const call = { object: td.vm.id, request: REQUEST.ENABLE_CAP, arg: ARGUMENT, pieces };
    expect(await thread.call(call)).toMatchObject({ result: -EFAULT, writes: [] });
    expect(await thread.call({ ...call, pieces: [] })).toMatchObject({ result: -EFAULT });
    thread.end();
  });
});
