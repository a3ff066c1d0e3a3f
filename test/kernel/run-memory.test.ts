import { afterEach, describe, expect, it } from 'vitest';
import { KVM_MEMORY_ATTRIBUTE_PRIVATE } from '../../src/kvm/constants.js';
import { type EnterHost, TDH } from '../../src/mock/module/seamcall.js';
import { TD_GPA } from './launch.js';
import {
  eptViolation,
  type Guest,
  out,
  type Scripted,
  type ScriptOptions,
  SHARED,
  scriptedTd,
  turns,
} from './scripted-guest.js';

let td: Scripted | undefined;
afterEach(() => td?.close());

const start = (guest: Guest | Guest[], options?: ScriptOptions): Scripted => {
  td = scriptedTd(guest, options);
  return td;
};
const ended = { reason: 'shutdown' };
const leaves = ({ trace }: Scripted) => trace.map(({ leaf }) => leaf);
const GPA = Number(TD_GPA);

describe('a guest that touches a private page which it does not have', () => {
  it('gets it from the guest_memfd with TDH.MEM.PAGE.AUG, the tables above first, and goes on', async () => {
    const { vcpu } = start(function* () {
      yield eptViolation(TD_GPA + 0x3000n);
      yield eptViolation(TD_GPA + 0x4000n);
    });
    expect(await vcpu.run()).toEqual(ended);
    const seen = leaves(td!).filter((leaf) => leaf !== TDH.VP_ENTER && leaf !== TDH.VP_WR);
    expect(seen).toEqual([
      ...[TDH.MEM_SEPT_ADD, TDH.MEM_SEPT_ADD, TDH.MEM_SEPT_ADD],
      ...[TDH.MEM_PAGE_AUG, TDH.MEM_PAGE_AUG],
    ]);
  });

  it('gets it once: a page that is there already is only tried again', async () => {
    const { vcpu } = start(function* () {
      yield eptViolation(TD_GPA);
      yield eptViolation(TD_GPA);
    });
    expect(await vcpu.run()).toEqual(ended);
    expect(leaves(td!).filter((leaf) => leaf === TDH.MEM_PAGE_AUG)).toHaveLength(1);
  });

  it('gets it anew after it was shared in between, and the host has everything back when the TD is closed', async () => {
    const { vcpu, vm, host } = start(function* () {
      yield eptViolation(TD_GPA);
      yield out(0x80, 0);
      yield eptViolation(TD_GPA);
    });
    await vcpu.run();
    vm.setMemoryAttributes(TD_GPA, 4096n, 0n);
    vm.setMemoryAttributes(TD_GPA, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expect(await vcpu.run()).toEqual(ended);
    expect(td!.trace.filter(({ leaf }) => leaf === TDH.MEM_PAGE_AUG).map(({ result }) => result.status)).toEqual([
      0n,
      0n,
    ]);
    td!.close();
    expect(host.stats()).toMatchObject({ vms: 0, keyIdsInUse: 0, pagesAllocated: 0 });
  });

  it('leaves KVM_RUN with a memory fault where the page has no private attribute, and goes on when it has', async () => {
    const { vcpu, vm } = start(function* () {
      yield eptViolation(TD_GPA);
      yield eptViolation(TD_GPA);
    });
    vm.setMemoryAttributes(TD_GPA, 4096n, 0n);
    const exit = { reason: 'memory-fault', isPrivate: true, flags: 8n, gpa: TD_GPA, size: 4096n };
    expect(await vcpu.run()).toEqual(exit);
    vm.setMemoryAttributes(TD_GPA, 4096n, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expect(await vcpu.run()).toEqual(ended);
  });

  it('leaves with a memory fault where no slot is, or the guest_memfd is closed', async () => {
    const { vcpu, vm } = start(function* () {
      yield eptViolation(0x5000n);
      yield eptViolation(TD_GPA);
    });
    vm.setMemoryAttributes(0n, TD_GPA, KVM_MEMORY_ATTRIBUTE_PRIVATE);
    expect(await vcpu.run()).toMatchObject({ reason: 'memory-fault', isPrivate: true, gpa: 0x5000n });
    vm.setUserMemoryRegion2({ slot: 0, gpa: TD_GPA, size: 0, memory: null });
    expect(await vcpu.run()).toMatchObject({ reason: 'memory-fault', gpa: TD_GPA });
  });

  it('before it has accepted it: "Guest access before accepting", EIO, and the VM is dead', async () => {
    const { vcpu, vm } = start(function* () {
      yield eptViolation(TD_GPA);
      yield eptViolation(TD_GPA, { rdx: 6n });
    });
    await expect(vcpu.run()).rejects.toMatchObject({ code: 'EIO', request: 'KVM_RUN', rule: 'kvm.run.unaccepted' });
    await expect(vcpu.run()).rejects.toMatchObject({ code: 'EIO', rule: 'kvm.vm-dead' });
    expect(() => vm.createVcpu(1)).toThrow(expect.objectContaining({ rule: 'kvm.vm-dead' }));
  });

  it('tries again while the module is busy', async () => {
    const fault = { request: 'KVM_RUN', nth: 1, seamcall: 'TDH.MEM.PAGE.AUG', status: '0x8000020000000092' };
    const { vcpu } = start(
      function* () {
        yield eptViolation(TD_GPA);
      },
      { faults: [{ ...fault, times: 5 }] },
    );
    expect(await vcpu.run()).toEqual(ended);
    expect(leaves(td!).filter((leaf) => leaf === TDH.MEM_PAGE_AUG)).toHaveLength(6);
  });

  it.each(['TDH.MEM.PAGE.AUG', 'TDH.MEM.SEPT.ADD'])('dies when %s fails: EIO', async (seamcall) => {
    const { vcpu } = start(
      function* () {
        yield eptViolation(TD_GPA);
      },
      { faults: [{ request: 'KVM_RUN', nth: 1, seamcall, status: 'TDX_OPERAND_INVALID' }] },
    );
    await expect(vcpu.run()).rejects.toMatchObject({ code: 'EIO', rule: 'kvm.run.augment' });
  });
});

describe('shared memory of a guest', () => {
  /** What TDH.VP.ENTER is given for shared memory; the guest then touches `gpa`. */
  const sharedMemory = async (setUp: (td: Scripted) => void, body: (host: EnterHost) => void, gpa = TD_GPA) => {
    const { vcpu } = start(function* ({ host }) {
      body(host());
      yield eptViolation(SHARED | gpa, { rcx: 1n });
    });
    setUp(td!);
    return vcpu.run();
  };
  const share = ({ vm }: Scripted) => vm.setMemoryAttributes(TD_GPA, 4096n, 0n);

  it('is what the slot maps, in both directions', async () => {
    await sharedMemory(
      (it) => {
        share(it);
        it.memory.write(0xffe, Uint8Array.of(1, 2, 3));
      },
      (host) => {
        expect(host.readShared(GPA + 0xffe, 2)).toEqual(Uint8Array.of(1, 2));
        expect(host.writeShared(GPA + 0x10, Uint8Array.of(9))).toBe(true);
      },
    );
    expect(td!.memory.read(0x10, 1)).toEqual(Uint8Array.of(9));
  });

  it('is a copy: what the guest reads does not change under it', async () => {
    await sharedMemory(share, (host) => {
      const bytes = host.readShared(GPA, 1)!;
      td!.memory.write(0, Uint8Array.of(5));
      expect(bytes).toEqual(Uint8Array.of(0));
    });
  });

  it('leaves KVM_RUN with a memory fault where the page is private', async () => {
    const exit = await sharedMemory(
      () => {},
      (host) => {
        expect(host.readShared(GPA, 1)).toBeUndefined();
        expect(host.writeShared(GPA, Uint8Array.of(1))).toBe(false);
        expect(host.isMmio!(GPA)).toBe(false);
      },
    );
    expect(exit).toEqual({ reason: 'memory-fault', isPrivate: false, flags: 0n, gpa: TD_GPA, size: 4096n });
  });

  it('is MMIO where no slot is: the guest gets a #VE when it tries again', async () => {
    const exit = await sharedMemory(
      () => {},
      (host) => {
        expect(host.readShared(0xfee0_0000, 4)).toBeUndefined();
        expect(host.isMmio!(0xfee0_0000)).toBe(true);
      },
      0xfee0_0000n,
    );
    expect(exit).toEqual(ended);
  });

  it('that the process has unmapped is EFAULT', async () => {
    const { vcpu, vm, memory } = start(function* ({ host }) {
      expect(host().isMmio!(GPA)).toBe(false);
      yield eptViolation(SHARED | TD_GPA, { rcx: 1n });
    });
    share(td!);
    memory.close();
    await expect(vcpu.run()).rejects.toMatchObject({ code: 'EFAULT', rule: 'kvm.run.shared-unmapped' });
    expect(vm.closed).toBe(false);
  });

  it('from which it seems to fetch instructions kills the VM', async () => {
    const { vcpu } = start(function* () {
      yield eptViolation(SHARED | TD_GPA, { rcx: 4n });
    });
    await expect(vcpu.run()).rejects.toMatchObject({ code: 'EIO', rule: 'kvm.run.shared-fetch' });
  });
});

describe('pages taken from a TD while vCPUs are inside', () => {
  it('are blocked, tracked and removed, and every vCPU is kicked in between', async () => {
    const { vm, vcpu } = start([
      function* () {
        yield eptViolation(TD_GPA);
        yield 'spin';
      },
      function* () {
        yield 'spin';
      },
    ]);
    /** How many SEAMCALLs had been made at each kick. */
    const kicks: number[] = [];
    td!.host.tdx!.module.kick = () => kicks.push(td!.trace.length);
    const runs = td!.vcpus.map((one) => one.run());
    await turns();
    td!.trace.length = 0;
    vm.setMemoryAttributes(TD_GPA, 4096n, 0n);
    expect(leaves(td!)).toEqual([TDH.MEM_RANGE_BLOCK, TDH.MEM_TRACK, TDH.MEM_PAGE_REMOVE, TDH.PHYMEM_PAGE_WBINVD]);
    expect(kicks).toEqual([2, 2]);
    expect(vcpu.running).toBe(true);
    vm.close();
    await Promise.allSettled(runs);
  });

  it('a vCPU that dies takes the other vCPUs of its VM with it, halted or not', async () => {
    const { vcpus } = start([
      function* () {
        yield eptViolation(TD_GPA, { rdx: 6n });
      },
      function* () {
        yield 'spin';
      },
      function* () {
        yield { status: 77n, r11: 12n };
      },
    ]);
    const others = vcpus.slice(1).map((vcpu) => vcpu.run());
    await turns();
    const ends = await Promise.allSettled([...others, vcpus[0]!.run()]);
    expect(ends.map((end) => end.status === 'rejected' && end.reason.rule)).toEqual([
      ...['kvm.vm-dead', 'kvm.vm-dead'],
      'kvm.run.unaccepted',
    ]);
  });
});
