import { readFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { KVM_CAP, KVM_MEM_GUEST_MEMFD, KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../src/kvm/constants.js';
import type { ExitReply, KvmVcpu, KvmVm, VcpuExit } from '../../src/kvm/index.js';
import { chooseEngine } from '../../src/mock/guest/choose.js';
import { DEFAULT_PROFILE, loadProfile, MockHost, mockMrtd, openMock } from '../../src/mock/index.js';
import { nativeStatus, openNative } from '../../src/native/index.js';
import { initParams, vcpuCpuid } from './launch.js';

const IMAGE_GPA = 0xffff_0000n;
const RAM = 0x10_0000;
const HOB = 0x9000n;
const SCRATCH = { gpa: 0x1_0000n, pages: 4 };
const CONSOLE = 0x3f8;
const EXIT_PORT = 0xf4;

const image = (name: string) => readFileSync(new URL(`../../images/${name}.bin`, import.meta.url));

let close = () => {};
afterEach(() => close());

const native = nativeStatus();
const engines = native.available ? (['interpreter', 'kvm'] as const) : (['interpreter'] as const);
if (!native.available) console.warn(`Skipped, the bundled images on the engine kvm: ${native.reason}`);

/** A TD made of an image, as the kernel's documentation has the steps. */
function td(wanted: (typeof engines)[number], name: string, vcpus = 1) {
  const engine = () => chooseEngine({ wanted, plainKvm: openNative });
  const host = new MockHost(loadProfile(DEFAULT_PROFILE), { engine });
  const system = openMock({ host });
  close = () => system.close();
  const vm = system.createVm(5);
  vm.enableCap(KVM_CAP.SPLIT_IRQCHIP, [24n]);
  vm.enableCap(KVM_CAP.EXIT_HYPERCALL, [0x1000n]);
  vm.tdx.initVm(initParams());
  const made = Array.from({ length: vcpus }, (_, id) => {
    const vcpu = vm.createVcpu(id);
    vcpu.setCpuid2(vcpuCpuid);
    vcpu.tdx.initVcpu(HOB);
    return vcpu;
  });
  const bytes = image(name);
  const memory = system.createMemory(bytes.length);
  memory.write(0, bytes);
  const ram = system.createMemory(RAM);
  for (const [slot, gpa, backing] of [
    [0, 0n, ram],
    [1, IMAGE_GPA, memory],
  ] as const) {
    const { size } = backing;
    const guestMemfd = vm.createGuestMemfd(size);
    vm.setUserMemoryRegion2({ slot, flags: KVM_MEM_GUEST_MEMFD, gpa, size, memory: backing, guestMemfd });
    vm.setMemoryAttributes(gpa, BigInt(size), KVM_MEMORY_ATTRIBUTE_PRIVATE);
  }
  const add = (source: typeof ram, gpa: bigint, nrPages: number, measure: boolean) =>
    made[0]!.tdx.initMemRegion({ source, sourceOffset: 0, gpa, nrPages, measure });
  add(memory, IMAGE_GPA, bytes.length / 4096, true);
  add(ram, HOB, 1, false);
  add(ram, SCRATCH.gpa, SCRATCH.pages, false);
  vm.tdx.finalizeVm();
  return { host, system, vm, vcpus: made };
}

/** Runs a vCPU until it writes to the exit port or leaves for another reason; what it prints comes along. */
async function play(vcpu: KvmVcpu): Promise<{ last: VcpuExit; text: string }> {
  let text = '';
  const ports = [
    { first: CONSOLE, last: CONSOLE, gather: true },
    { first: CONSOLE + 1, last: CONSOLE + 7, readByte: 0x60 },
  ];
  for (let reply: ExitReply = {}; ; ) {
    const last = await vcpu.run({ reply, ports });
    text += Buffer.from(vcpu.takePortOutput()).toString('latin1');
    if (last.reason !== 'io' || last.port === EXIT_PORT) return { last, text };
    reply = {};
  }
}

const hex = (vm: KvmVm) => Buffer.from(mockMrtd(vm)!).toString('hex');

describe.each(engines)('the bundled images in KVM_RUN of the model, engine %s', (engine) => {
  it('minimal greets, obtains a TDREPORT with the MRTD of what was added, and ends with 0 to its exit port', async () => {
    const { vm, vcpus } = td(engine, 'minimal');
    const { last, text } = await play(vcpus[0]!);
    expect(text).toContain('Hello from a Trust Domain: GPAW 48, vCPUs 1 of at most');
    expect(text).toContain(`MRTD ${hex(vm)}`);
    expect(last).toMatchObject({ reason: 'io', direction: 'out', port: EXIT_PORT, data: Uint8Array.of(0) });
  });

  it('minimal’s other processors park themselves, and give everything back when the VM is closed', async () => {
    const { host, system, vcpus } = td(engine, 'minimal', 3);
    const parked = vcpus.slice(1).map((vcpu) => vcpu.run());
    const { last, text } = await play(vcpus[0]!);
    expect(text).toContain('vCPUs 3 of at most');
    expect(last).toMatchObject({ port: EXIT_PORT, data: Uint8Array.of(0) });
    expect(vcpus.map(({ running }) => running)).toEqual([false, true, true]);
    system.close();
    const ends = await Promise.allSettled(parked);
    expect(ends).toMatchObject(Array(2).fill({ status: 'rejected', reason: { code: 'ERR_KVM_CLOSED' } }));
    expect(host.stats()).toMatchObject({ vms: 0, tds: 0, keyIdsInUse: 0, pagesAllocated: 0 });
  });

  it('fatal reports its error with its text in the registers', async () => {
    const { vcpus } = td(engine, 'fatal');
    const { last } = await play(vcpus[0]!);
    expect(last).toMatchObject({ reason: 'system-event', type: 7 });
  });

  it('triple-fault shuts down', async () => {
    const { vcpus } = td(engine, 'triple-fault');
    expect((await play(vcpus[0]!)).last).toEqual({ reason: 'shutdown' });
  });

  it('a guest that is closed in mid-run stops, and the host has everything back', async () => {
    const { host, system, vcpus } = td(engine, 'minimal');
    const run = play(vcpus[0]!);
    await new Promise(setImmediate);
    system.close();
    await expect(run).rejects.toMatchObject({ code: 'ERR_KVM_CLOSED' });
    expect(host.stats()).toMatchObject({ vms: 0, tds: 0, keyIdsInUse: 0, pagesAllocated: 0 });
  });
});
