import { describe, expect, it } from 'vitest';
import { get, LEAVE, RunningTd, result, tdcall, words } from './guest-td.js';
import { TDH } from './host.js';

describe('An entered VCPU', () => {
  it('starts with the registers of TDH.VP.INIT, and leaves for good after a triple fault', async () => {
    const td = new RunningTd({ vcpus: 2 }, [], [LEAVE]);
    const { status } = await td.enter({}, 1);
    expect(words(status)).toBe('TDX_NON_RECOVERABLE_VCPU, details 0x2');
    expect([get(td.td.vcpus[1]!, 'rbx'), get(td.td.vcpus[1]!, 'rsi')]).toEqual([48n, 1n]);
    expect(words((await td.enter({}, 1)).status)).toBe('TDX_VCPU_STATE_INCORRECT');
  });

  it('leaves with an external interrupt when the host calls', async () => {
    const td = new RunningTd({}, []);
    expect(await td.enter({}, 0, AbortSignal.timeout(5))).toMatchObject({ status: 1n, r9: 0x8000_00fdn });
    expect(await td.enter({}, 0, AbortSignal.abort())).toMatchObject({ status: 1n });
  });

  it('is interrupted even if the guest keeps the module busy and the engine never waits', async () => {
    const forever = new RunningTd({}, []);
    const entered = forever.enter({}, 0, AbortSignal.timeout(30));
    setTimeout(() => {}, 0);
    await new Promise(setImmediate);
    forever.cpu.script.push(...Array.from({ length: 100_000 }, () => tdcall(1)));
    expect((await entered).status).toBe(1n);
  });

  it('ends where the engine cannot go on, and says why', async () => {
    const bytes = Uint8Array.of(0x0f, 0x0b);
    const td = new RunningTd({}, [{ kind: 'stuck', why: 'no such instruction', rip: 0x1000n, bytes }]);
    const exit = await td.enter();
    expect(exit.stuck).toEqual({ why: 'no such instruction', rip: 0x1000n, bytes });
    expect(words(exit.status)).toBe('TDX_NON_RECOVERABLE_VCPU, details 0x21');
  });

  it('is outside again if the engine fails', async () => {
    const td = new RunningTd({}, [
      () => {
        throw new Error('broken');
      },
      LEAVE,
    ]);
    await expect(td.enter()).rejects.toThrow('broken');
    expect(words((await td.enter()).status)).toContain('TDX_NON_RECOVERABLE_VCPU');
  });

  it('does not keep other calls from the TD, while it keeps those that need it alone', async () => {
    const td = new RunningTd({ vcpus: 2, pages: [0n] }, [], [LEAVE]);
    const stop = new AbortController();
    const inside = td.enter({}, 0, stop.signal);
    expect(words((await td.enter({}, 1)).status)).toContain('TDX_NON_RECOVERABLE_VCPU');
    const { host, tdr } = td;
    expect(host.status(TDH.MEM_PAGE_AUG, { rcx: 0x1000n, rdx: tdr, r8: host.fresh() })).toBe('TDX_SUCCESS');
    expect(host.call(TDH.MNG_RD, { rcx: tdr, rdx: 0x9010_0002_0000_0001n })).toMatchObject({ r8: 2n });
    expect(host.status(TDH.VP_FLUSH, { rcx: td.tdvprs[0]! })).toBe('TDX_OPERAND_BUSY, operand RCX');
    expect(host.status(TDH.MNG_VPFLUSHDONE, { rcx: tdr })).toBe('TDX_OPERAND_BUSY, operand RCX');
    stop.abort();
    await inside;
    expect(host.status(TDH.VP_FLUSH, { rcx: td.tdvprs[0]! })).toBe('TDX_SUCCESS');
  });

  it('that is kicked no longer holds up the removal of a blocked page', async () => {
    const td = new RunningTd({ pages: [0x1000n] }, []);
    const stop = new AbortController();
    const inside = td.enter({}, 0, stop.signal);
    await new Promise(setImmediate);
    const { host, tdr } = td;
    td.td.writePrivate(0x1000, Uint8Array.of(7));
    host.must(TDH.MEM_RANGE_BLOCK, { rcx: 0x1000n, rdx: tdr });
    expect(td.td.log).toEqual(['mapped 1000 4096', 'unmapped 1000 4096']);
    host.must(TDH.MEM_TRACK, { rcx: tdr });
    const remove = () => host.status(TDH.MEM_PAGE_REMOVE, { rcx: 0x1000n, rdx: tdr });
    expect(remove()).toContain('TDX_TLB_TRACKING_NOT_DONE');
    host.module.kick(td.tdvprs[0]!);
    expect(remove()).toBe('TDX_SUCCESS');
    stop.abort();
    expect((await inside).status).toBe(1n);
  });

  it('finds the content of a page that was blocked and is unblocked', async () => {
    const td = new RunningTd({ pages: [0x1000n] }, []);
    await td.enter({}, 0, AbortSignal.timeout(1));
    const { host, tdr } = td;
    td.td.writePrivate(0x1000, Uint8Array.of(7));
    host.must(TDH.MEM_RANGE_BLOCK, { rcx: 0n | 1n, rdx: tdr });
    host.must(TDH.MEM_TRACK, { rcx: tdr });
    host.must(TDH.MEM_RANGE_UNBLOCK, { rcx: 0n | 1n, rdx: tdr });
    expect(td.td.log).toEqual(['mapped 1000 4096', 'unmapped 1000 4096', 'mapped 1000 4096']);
    expect(td.bytes(0x1000, 1)).toEqual(Uint8Array.of(7));
  });

  it('is gone from the engine when the TD loses its key', async () => {
    const td = new RunningTd({}, [LEAVE]);
    await td.enter();
    const { cpu } = td;
    td.host.must(TDH.VP_FLUSH, { rcx: td.tdvprs[0]! });
    td.host.must(TDH.MNG_VPFLUSHDONE, { rcx: td.tdr });
    expect([cpu.closed, td.td.closed, td.engine.closed]).toEqual([true, true, false]);
    await td.host.module.close();
    expect(td.engine.closed).toBe(true);
  });
});

describe('The host of a TD with ATTRIBUTES.DEBUG', () => {
  const GUEST_RIP = 0x0020_0003_0000_681en;
  const RBX = 0x1020_0003_0000_0003n;

  it('reads registers of a VCPU that is outside, and changes them', async () => {
    const td = new RunningTd({ attributes: 1 }, [{ kind: 'interrupted' }, LEAVE]);
    await td.enter();
    const rcx = td.tdvprs[0]!;
    expect(td.host.must(TDH.VP_RD, { rcx, rdx: GUEST_RIP }).r8).toBe(0xffff_fff0n);
    expect(td.host.must(TDH.VP_RD, { rcx, rdx: RBX }).r8).toBe(48n);
    td.host.must(TDH.VP_WR, { rcx, rdx: GUEST_RIP, r8: 0x1000n, r9: (1n << 64n) - 1n });
    td.host.must(TDH.VP_WR, { rcx, rdx: RBX, r8: 7n, r9: (1n << 64n) - 1n });
    await td.enter();
    expect([td.cpu.rip, get(td.cpu, 'rbx')]).toEqual([0x1000n, 7n]);
  });

  it('reads and writes the memory that the guest has now', async () => {
    const td = new RunningTd({ attributes: 1, pages: [0x1000n] }, []);
    await td.enter({}, 0, AbortSignal.timeout(1));
    td.td.writePrivate(0x1008, Uint8Array.of(5));
    expect(td.host.must(TDH.MEM_RD, { rcx: 0x1008n, rdx: td.tdr }).r8).toBe(5n);
    td.host.must(TDH.MEM_WR, { rcx: 0x1008n, rdx: td.tdr, r8: 6n });
    expect(td.bytes(0x1008, 1)).toEqual(Uint8Array.of(6));
  });
});

describe('TDCALL', () => {
  const NEVER_MADE = [13, 17, 19, 21, 28, 0xffff];
  it.each([...NEVER_MADE, 18, 20])('leaf %i is refused', async (leaf) => {
    expect(await result({}, tdcall(leaf))).toEqual({
      status: 'TDX_OPERAND_INVALID, operand RAX',
      rule: 'module.tdcall.leaf',
    });
  });

  it.each([1 << 24, 2 ** 32 + 1, 2 ** 63 + 2 ** 12])('refuses reserved bits in RAX (%d)', async (rax) => {
    expect((await result({}, tdcall(rax))).rule).toBe('module.tdcall.leaf');
  });

  it('has one version of most leaves', async () => {
    expect((await result({}, tdcall(0x1_0001))).rule).toBe('module.tdcall.version');
  });

  it.each([
    ['outside 64-bit mode', { longMode: false }, 'module.tdcall.long-mode'],
    ['above privilege level 0', { cpl: 3 }, 'module.tdcall.cpl'],
  ])('%s is #GP(0) at the instruction', async (_, mode, rule) => {
    const td = new RunningTd({}, [
      (cpu) => {
        Object.assign(cpu.mode, mode);
        return { kind: 'tdcall', length: 4 };
      },
      LEAVE,
    ]);
    await td.enter();
    expect(td.cpu.injected).toEqual([{ vector: 13, errorCode: 0 }]);
    expect([td.cpu.rip, td.cpu.rflags]).toEqual([0xffff_fff0n, 0x1_0002n]);
    expect(td.trace[0]).toMatchObject({ kind: 'exception', vector: 13, rule });
  });
});
