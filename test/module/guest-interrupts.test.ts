import { describe, expect, it } from 'vitest';
import { PostedInterrupts } from '../../src/mock/kernel/run/posted-interrupts.js';
import type { EnterHost } from '../../src/mock/module/seamcall.js';
import type { FakeVcpu, Step } from './fake-engine.js';
import { LEAVE, RunningTd, set } from './guest-td.js';
import { TDH } from './host.js';

const IF = 0x200n;
const PEND_NMI = 0xa000_0000_0000_000bn;
const VEINFO_GET = 3n;
const VCPU_STATE_DETAILS = 0x9100_0000_0000_0100n;

/** A host that posts, and calls the processor with the notification vector as KVM does. */
class PostingHost implements EnterHost {
  readonly posted = new PostedInterrupts();
  #call = new AbortController();
  get signal(): AbortSignal {
    return this.#call.signal;
  }
  readShared = () => undefined;
  writeShared = () => false;

  post(...vectors: number[]): void {
    for (const vector of vectors) this.posted.post(vector);
    const call = this.#call;
    this.#call = new AbortController();
    call.abort();
  }

  wantProcessor(): void {
    this.#call.abort();
  }
}

const wrmsr =
  (index: number, value: number): Step =>
  (cpu) => {
    cpu.injected.length = 0;
    set(cpu, { rcx: BigInt(index), rax: BigInt(value), rdx: 0n });
    return { kind: 'instruction', name: 'wrmsr', length: 2 };
  };
const takesInterrupts = (cpu: FakeVcpu, takes = true): void => {
  cpu.rflags = takes ? cpu.rflags | IF : cpu.rflags & ~IF;
};
/** An event that the module answers without leaving, after `look`. */
const then =
  (look: (cpu: FakeVcpu) => void): Step =>
  (cpu) => {
    look(cpu);
    return { kind: 'interrupt-window' };
  };

const enter = (td: RunningTd, host: EnterHost) => td.host.module.vpEnter({ rcx: td.tdvprs[0]! }, host);

describe('Interrupts that the host posts to a VCPU', () => {
  it('before it enters wait in the virtual APIC until the guest takes interrupts, the highest first', async () => {
    const seen: unknown[] = [];
    const look = (cpu: FakeVcpu) => {
      seen.push([cpu.injected.map(({ vector }) => vector), cpu.interruptWindow]);
      cpu.injected.length = 0;
    };
    const td = new RunningTd({}, [
      then((cpu) => {
        look(cpu);
        takesInterrupts(cpu);
      }),
      then(look),
      wrmsr(0x80b, 0),
      then(look),
      LEAVE,
    ]);
    const host = new PostingHost();
    host.post(0x31, 0x32);
    await enter(td, host);
    expect(seen).toEqual([
      [[], true],
      [[0x32], false],
      [[0x31], false],
    ]);
    expect(td.trace.filter(({ kind }) => kind === 'interrupt')).toMatchObject([{ vector: 0x32 }, { vector: 0x31 }]);
  });

  it('while it is inside reach it without a TD exit; a call without anything posted takes the processor away', async () => {
    const td = new RunningTd({}, [then(takesInterrupts)]);
    const host = new PostingHost();
    const inside = enter(td, host);
    await new Promise(setImmediate);
    host.post(0x40);
    await new Promise(setImmediate);
    expect(td.cpu.injected).toEqual([{ vector: 0x40 }]);
    host.wantProcessor();
    expect((await inside).status).toBe(1n);
    expect(td.trace.filter(({ kind }) => kind === 'exit')).toHaveLength(1);
  });

  it('do not take the place of an exception that the module injects', async () => {
    const host = new PostingHost();
    const td = new RunningTd({}, [
      (cpu) => {
        takesInterrupts(cpu);
        host.post(0x40);
        return { kind: 'instruction', name: 'hlt', length: 1 };
      },
      then((cpu) => {
        expect([cpu.injected, cpu.interruptWindow]).toEqual([[{ vector: 20 }], true]);
        cpu.injected.length = 0;
        takesInterrupts(cpu, false);
      }),
      then((cpu) => expect([cpu.injected, cpu.interruptWindow]).toEqual([[], true])),
      LEAVE,
    ]);
    await enter(td, host);
    expect(td.cpu.script).toEqual([]);
  });

  it('are held back by the guest’s task priority', async () => {
    const td = new RunningTd({}, [
      wrmsr(0x808, 0x40),
      then(takesInterrupts),
      then((cpu) => expect([cpu.injected, cpu.interruptWindow]).toEqual([[], false])),
      wrmsr(0x808, 0x3f),
      then((cpu) => expect(cpu.injected).toEqual([{ vector: 0x4f }])),
      LEAVE,
    ]);
    const host = new PostingHost();
    host.post(0x4f);
    await enter(td, host);
    expect(td.cpu.script).toEqual([]);
  });
});

describe('What the host learns and does by fields of the VCPU', () => {
  it('VCPU_STATE_DETAILS says whether an interrupt waits that was taken from the descriptor', async () => {
    const td = new RunningTd({}, [{ kind: 'interrupted' }, LEAVE]);
    const host = new PostingHost();
    const details = () => td.host.must(TDH.VP_RD, { rcx: td.tdvprs[0]!, rdx: VCPU_STATE_DETAILS }).r8;
    expect(details()).toBe(0n);
    host.post(0x40);
    await enter(td, host);
    expect([details(), host.posted.outstanding]).toEqual([1n, false]);
  });

  it('PEND_NMI gives the guest an NMI at the next entry, whatever RFLAGS.IF', async () => {
    const td = new RunningTd({}, [LEAVE]);
    td.host.must(TDH.VP_WR, { rcx: td.tdvprs[0]!, rdx: PEND_NMI, r8: 1n, r9: 0xffn });
    await enter(td, new PostingHost());
    expect(td.cpu.injected).toEqual([{ vector: 2 }]);
    expect(td.host.must(TDH.VP_RD, { rcx: td.tdvprs[0]!, rdx: PEND_NMI }).r8).toBe(0n);
  });

  it('PEND_NMI does not make the guest miss an interrupt that waits behind the NMI', async () => {
    const td = new RunningTd({}, [
      then((cpu) => {
        expect([cpu.injected, cpu.interruptWindow]).toEqual([[{ vector: 2 }], true]);
        cpu.injected.length = 0;
        takesInterrupts(cpu);
      }),
      then((cpu) => expect([cpu.injected, cpu.interruptWindow]).toEqual([[{ vector: 0x40 }], false])),
      LEAVE,
    ]);
    td.host.must(TDH.VP_WR, { rcx: td.tdvprs[0]!, rdx: PEND_NMI, r8: 1n, r9: 0xffn });
    const host = new PostingHost();
    host.post(0x40);
    await enter(td, host);
    expect(td.cpu.script).toEqual([]);
  });

  it('PEND_NMI waits until the guest has asked what its #VE was about', async () => {
    const injected: (readonly number[])[] = [];
    const look = (cpu: FakeVcpu): void => {
      injected.push(cpu.injected.map(({ vector }) => vector));
      cpu.injected.length = 0;
    };
    const td = new RunningTd({}, [
      { kind: 'instruction', name: 'hlt', length: 1 },
      { kind: 'interrupted' },
      then(look),
      (cpu) => {
        look(cpu);
        set(cpu, { rax: VEINFO_GET });
        return { kind: 'tdcall', length: 4 };
      },
      then(look),
      LEAVE,
    ]);
    const host = new PostingHost();
    await enter(td, host);
    td.host.must(TDH.VP_WR, { rcx: td.tdvprs[0]!, rdx: PEND_NMI, r8: 1n, r9: 0xffn });
    await enter(td, host);
    expect(injected).toEqual([[20], [], [2]]);
  });
});
