import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { errnoNumber } from '../../../src/kvm/errno.js';
import { KvmError, tdxStatus, type VcpuExit } from '../../../src/kvm/index.js';
import { Console, type RunEvent, runVcpus, type TdOutcome, type TdRunOptions } from '../../../src/launch/index.js';
import { fakes, inb, making, out, type Script } from './fake-vcpu.js';

const run = (script: () => Script, options: TdRunOptions = {}, td = true): Promise<TdOutcome> =>
  runVcpus({ vcpus: fakes(script).vcpus, td }, options);

const endsWith = (exit: VcpuExit, td = true): Promise<TdOutcome> => run(making(exit), {}, td);

const failing = (code: string) =>
  function* (): Script {
    yield new KvmError({ errno: errnoNumber(code), request: 'KVM_RUN' });
  };

const loopForEver = function* (): Script {
  for (;;) yield inb(0x61);
};

async function replyTo(exit: VcpuExit, options: TdRunOptions = {}) {
  const { vcpus, fakes: made } = fakes(making(exit));
  await runVcpus({ vcpus, td: true }, options);
  return made[0]!.replies[0];
}

describe('how a run ends', () => {
  it('through the exit port, with the byte that the guest wrote', async () => {
    expect(await run(making())).toMatchObject({ how: 'exit-port', vcpu: 0, exitCode: 0 });
    const outcome = await endsWith(out(0xf4, 7));
    expect(outcome).toMatchObject({ how: 'exit-port', exitCode: 7 });
    expect(outcome.message).toBe('The guest ended with 7 through port 0xf4');
  });

  it('by a fatal error, whose text and registers it has', async () => {
    const data = Array.from({ length: 16 }, () => 0n);
    const word = (text: string) => Buffer.from(text.padEnd(8, '\0')).readBigUInt64LE();
    data[1] = 0xf7cen; // RCX: which registers count
    data[12] = 0x8000_0000_0000_1234n;
    data[13] = 0x5000n;
    for (const [i, text] of [
      [14, 'No page '],
      [15, 'left for'],
      [3, ' the hea'],
      [7, 'p\n'],
    ] as const)
      data[i] = word(text);
    const outcome = await endsWith({ reason: 'system-event', type: 7, data });
    expect(outcome).toMatchObject({
      how: 'fatal-error',
      fatal: { code: 0x1234, text: 'No page left for the heap\\x0a', gpa: 0x5000n, registers: { r12: data[12] } },
    });
    expect(outcome.message).toContain('"No page left for the heap\\x0a", code 0x1234');
    expect(outcome.message).toContain('0x5000');
  });

  it('by a fatal error of which only the registers in the mask of RCX count', async () => {
    const data = Array.from({ length: 16 }, () => 0x41414141_41414141n);
    data[1] = 1n << 14n;
    expect((await endsWith({ reason: 'system-event', type: 7, data })).fatal?.text).toBe('AAAAAAAA');
  });

  it('by a triple fault, which in a TD mostly is a #VE without a handler', async () => {
    const outcome = await endsWith({ reason: 'shutdown' });
    expect(outcome).toMatchObject({ how: 'triple-fault', vcpu: 0 });
    expect(outcome.advice).toMatch(/#VE.*IDT/);
    expect((await endsWith({ reason: 'shutdown' }, false)).advice).not.toContain('#VE');
  });

  it.each([
    [true, 'private', /MapGPA.*SHARED bit/],
    [false, 'shared', /asks for it with TDG\.VP\.VMCALL<MapGPA>/],
  ])('by a memory fault (private: %s)', async (isPrivate, kind, advice) => {
    const outcome = await endsWith({ reason: 'memory-fault', isPrivate, flags: 8n, gpa: 0x7000n, size: 0x1000n });
    expect(outcome).toMatchObject({ how: 'memory-fault', exit: { gpa: 0x7000n } });
    expect(outcome.message).toContain(`${kind} memory at 0x7000`);
    expect(outcome.advice).toMatch(advice);
  });

  it('by an internal error, with the status of the TDX module by name', async () => {
    const data = [tdxStatus('TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE'), 3n];
    const outcome = await endsWith({ reason: 'internal-error', suberror: 4, data });
    expect(outcome.message).toContain('TDX_NON_RECOVERABLE_TD_NON_ACCESSIBLE');
    expect(outcome.advice).toContain('will not let this TD run again');
    expect(outcome.status?.nonRecoverable).toBe(true);
  });

  it('by an internal error of a plain VM, whose numbers are no status', async () => {
    const outcome = await endsWith({ reason: 'internal-error', suberror: 1, data: [0x10n] }, false);
    expect(outcome).toMatchObject({ how: 'internal-error' });
    expect(outcome.status).toBeUndefined();
    expect(outcome.message).toContain('an instruction that it cannot emulate');
  });

  it('by a refused entry', async () => {
    const outcome = await endsWith({ reason: 'fail-entry', hardwareEntryFailureReason: 0x8000_0021n, cpu: 5 });
    expect(outcome).toMatchObject({ how: 'fail-entry' });
    expect(outcome.message).toContain('0x80000021 on CPU 5');
  });

  it('by EIO of KVM_RUN: the VM is dead, in a TD probably for an access before accepting', async () => {
    const outcome = await run(failing('EIO'));
    expect(outcome).toMatchObject({ how: 'vm-dead', vcpu: 0, error: { code: 'EIO' } });
    expect(outcome.advice).toContain('TDG.MEM.PAGE.ACCEPT');
  });

  it('by another failure of KVM_RUN', async () => {
    const outcome = await run(failing('EINVAL'));
    expect(outcome).toMatchObject({ how: 'run-failed', error: { code: 'EINVAL' } });
  });

  it('by an exit that nothing answers, in the words of who made it', async () => {
    expect(await endsWith({ reason: 'unknown', exitReason: 99 })).toMatchObject({ how: 'unknown-exit' });
    const outcome = await endsWith({ reason: 'unknown', exitReason: 0, detail: 'no engine here' });
    expect(outcome.message).toBe('no engine here');
  });

  it('by a reset', async () => {
    const outcome = await endsWith({ reason: 'system-event', type: 2, data: [] });
    expect(outcome).toMatchObject({ how: 'system-event' });
    expect(outcome.message).toContain('reset');
  });

  it('when every vCPU has halted, and not before', async () => {
    const { vcpus } = fakes(
      function* () {
        yield { reason: 'hlt' };
      },
      function* () {
        for (let i = 0; i < 10; i++) yield inb(0x61);
        yield { reason: 'hlt' };
      },
    );
    const outcome = await runVcpus({ vcpus });
    expect(outcome).toMatchObject({ how: 'halted', vcpus: [{ exits: 1 }, { exits: 11 }] });
    expect(outcome.message).toBe('All 2 vCPUs have halted, and nothing can wake the guest');
  });

  it.each([
    ['waits', function* (): Script {}],
    ['loops over exits for ever', loopForEver],
  ])('by the timeout, when the guest %s', async (_, script) => {
    const outcome = await run(script, { timeout: 30 });
    expect(outcome).toMatchObject({ how: 'timeout' });
    expect(outcome.vcpu).toBeUndefined();
    expect(outcome.durationMs).toBeGreaterThanOrEqual(29);
  });

  it('says what each vCPU did last', async () => {
    const { vcpus } = fakes(loopForEver, function* () {});
    const outcome = await runVcpus({ vcpus }, { timeout: 20 });
    expect(outcome.vcpus[0]!.lastExit?.text).toBe('KVM_EXIT_IO (direction in, port 0x61, size 1)');
    expect(outcome.vcpus[0]!.exits).toBeGreaterThan(10);
    expect(outcome.vcpus[1]).toEqual({ id: 1, exits: 0 });
  });

  it('by the signal, before it began and in mid-run', async () => {
    const { vcpus, fakes: made } = fakes(making());
    expect(await runVcpus({ vcpus }, { signal: AbortSignal.abort() })).toMatchObject({ how: 'aborted' });
    expect(made[0]!.replies).toEqual([]);
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('enough')), 10);
    const outcome = await run(loopForEver, { signal: controller.signal });
    expect(outcome).toMatchObject({ how: 'aborted', message: 'The run was aborted: enough' });
  });

  it('when the vCPU is closed under it', async () => {
    const { vcpus, fakes: made } = fakes(function* () {});
    const running = runVcpus({ vcpus });
    setTimeout(() => made[0]!.close(), 5);
    expect(await running).toMatchObject({ how: 'closed', vcpu: 0 });
  });

  it('with the first vCPU that ends it; the others are interrupted and awaited', async () => {
    const { vcpus, fakes: made } = fakes(function* () {}, loopForEver, making(out(0xf4, 3)));
    expect(await runVcpus({ vcpus })).toMatchObject({ how: 'exit-port', vcpu: 2, exitCode: 3 });
    expect(made.map(({ running }) => running)).toEqual([false, false, false]);
  });

  it('leaves no listener on the signal and no timer', async () => {
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    await run(making(), { signal, timeout: 100_000 });
    expect([listeners, timers()]).toEqual([0, before]);
  });
});

describe('what a guest finds', () => {
  it('an empty bus: reads of ports and memory give ones, writes go nowhere', async () => {
    expect(await replyTo(inb(0x60, 4))).toEqual({ data: new Uint8Array(4).fill(0xff) });
    expect(await replyTo(out(0x60, 1))).toEqual({});
    const mmio = { reason: 'mmio', gpa: 0xfee0_0000n } as const;
    expect(await replyTo({ ...mmio, isWrite: false, data: new Uint8Array(8) })).toEqual({
      data: new Uint8Array(8).fill(0xff),
    });
    expect(await replyTo({ ...mmio, isWrite: true, data: new Uint8Array(8) })).toEqual({});
  });

  it('the devices of the caller, by port and by address, in place of the console too', async () => {
    const seen: unknown[] = [];
    const options: TdRunOptions = {
      devices: {
        ports: [
          {
            first: 0x3f8,
            last: 0x3ff,
            read: (port, size) => port * 0x100 + size,
            write: (...args) => void seen.push(args),
          },
        ],
        mmio: [
          {
            first: 0x1000n,
            last: 0x1fffn,
            read: (gpa, size) => gpa + BigInt(size),
            write: (...args) => void seen.push(args),
          },
        ],
      },
    };
    expect(await replyTo(inb(0x3fb, 4), options)).toEqual({ data: Uint8Array.of(4, 0xfb, 3, 0) });
    await replyTo(out(0x3f8, 0x41), options);
    const mmio = { reason: 'mmio', gpa: 0x1ff0n } as const;
    const read = await replyTo({ ...mmio, isWrite: false, data: new Uint8Array(2) }, options);
    expect(read).toEqual({ data: Uint8Array.of(0xf2, 0x1f) });
    await replyTo({ ...mmio, isWrite: true, data: Uint8Array.of(1, 2) }, options);
    expect(seen).toEqual([
      [0x3f8, 1, 0x41],
      [0x1ff0n, 2, 0x201n],
    ]);
  });

  it('string instructions reach a device access by access', async () => {
    const values: number[] = [];
    const device = {
      first: 0x10,
      last: 0x10,
      write: (_p: number, _s: number, value: number) => void values.push(value),
    };
    const data = Uint8Array.of(1, 0, 2, 0, 3, 0);
    await replyTo(
      { reason: 'io', direction: 'out', port: 0x10, size: 2, count: 3, data },
      { devices: { ports: [device] } },
    );
    expect(values).toEqual([1, 2, 3]);
  });

  it('a device may end the run', async () => {
    const poweroff = { first: 0x604, last: 0x605, write: () => ({ stop: 'The guest switched itself off' }) };
    const outcome = await run(making(out(0x604, 1)), { devices: { ports: [poweroff] } });
    expect(outcome).toMatchObject({ how: 'stopped', message: 'The guest switched itself off' });
    expect(outcome.exitCode).toBeUndefined();
  });

  it('TDVMCALLs that are unsupported, unless somebody handles them', async () => {
    const unsupported = { ret: 0x8000_0000_0000_0003n };
    const tdx = { reason: 'tdx', flags: 0n } as const;
    const quote = { ...tdx, nr: 0x10002n, call: 'get-quote', gpa: 0n, size: 0x1000n } as const;
    const notify = { ...tdx, nr: 0x10004n, call: 'setup-event-notify-interrupt', vector: 40n } as const;
    const info = { ...tdx, nr: 0x10000n, call: 'get-td-vm-call-info', leaf: 1n } as const;
    expect(await replyTo(quote)).toEqual(unsupported);
    expect(await replyTo(notify)).toEqual(unsupported);
    expect(await replyTo({ ...tdx, nr: 0x77n, call: 'unknown' })).toEqual(unsupported);
    expect(await replyTo(info)).toEqual({ ret: 0n, tdVmCallInfo: { r11: 0n, r12: 0n, r13: 0n, r14: 0n } });
    const vectors: number[] = [];
    const options = { notify: (vector: number) => void vectors.push(vector) };
    expect(await replyTo(notify, options)).toEqual({ ret: 0n });
    expect(await replyTo(info, options)).toMatchObject({ tdVmCallInfo: { r11: 2n } });
    expect(vectors).toEqual([40]);
  });

  it('a hypercall that nobody knows fails with ENOSYS', async () => {
    const exit = { reason: 'hypercall', nr: 5n, args: [], flags: 0n } as const;
    expect(await replyTo(exit)).toEqual({ ret: BigInt.asUintN(64, -38n) });
  });
});

describe('hooks', () => {
  it('onExit sees every exit, may answer it, and may end the run', async () => {
    const reasons: string[] = [];
    const { vcpus, fakes: made } = fakes(making(inb(0x61), inb(0x62), inb(0x63)));
    const outcome = await runVcpus(
      { vcpus },
      {
        onExit: async (exit, vcpu) => {
          reasons.push(`${vcpu} ${exit.reason}`);
          if (exit.reason !== 'io') return;
          if (exit.port === 0x61) return { reply: { data: Uint8Array.of(0x20) } };
          return exit.port === 0x63 ? { stop: 'seen enough', exitCode: 9 } : undefined;
        },
      },
    );
    expect(reasons).toEqual(['0 io', '0 io', '0 io']);
    expect(made[0]!.replies).toEqual([{ data: Uint8Array.of(0x20) }, { data: Uint8Array.of(0xff) }]);
    expect(outcome).toMatchObject({ how: 'stopped', message: 'seen enough', exitCode: 9 });
  });

  it('onExit that never settles does not hold up the end', async () => {
    const outcome = await run(making(inb(0x61)), { onExit: () => new Promise(() => {}), timeout: 20 });
    expect(outcome).toMatchObject({ how: 'timeout', vcpus: [{ exits: 1 }] });
  });

  it('onExit that ends the run and then never settles does not hold up the end', async () => {
    const ending = new AbortController();
    const onExit = () => {
      ending.abort();
      return new Promise<void>(() => {});
    };
    expect(await run(making(inb(0x61)), { onExit, signal: ending.signal })).toMatchObject({ how: 'aborted' });
  });

  it('onEvent hears of every exit with the answer, in order', async () => {
    const events: RunEvent[] = [];
    await run(making(inb(0x61)), { onEvent: (event) => events.push(event) });
    expect(events).toMatchObject([
      { kind: 'kvm-exit', vcpu: 0, exit: { port: 0x61 }, reply: { data: Uint8Array.of(0xff) } },
      { kind: 'kvm-exit', vcpu: 0, exit: { port: 0xf4 } },
    ]);
    expect(events[1]).not.toHaveProperty('reply');
    expect(events[1]!.atMs).toBeGreaterThanOrEqual(events[0]!.atMs);
  });

  it.each(['throws', 'rejects'])('what a hook %s rejects the run, after every vCPU has stopped', async (kind) => {
    const { vcpus, fakes: made } = fakes(function* () {}, making(inb(0x61)));
    const error = new Error('my hook');
    const onExit =
      kind === 'throws'
        ? () => {
            throw error;
          }
        : () => Promise.reject(error);
    await expect(runVcpus({ vcpus }, { onExit })).rejects.toBe(error);
    expect(made.map(({ running }) => running)).toEqual([false, false]);
  });
});

describe('the MRTD that a guest prints', () => {
  const mrtd = 'ab'.repeat(48);
  const printed = async (text: string) => (await runVcpus({ vcpus: fakes(making(out(0x3f8, text))).vcpus, mrtd })).mrtd;

  it('is compared with that of the TD', async () => {
    expect(await printed(`hello\nMRTD ${mrtd}\r\nbye\n`)).toEqual({ reported: mrtd, matches: true });
    const other = 'cd'.repeat(48);
    expect(await printed(`MRTD ${other}\n`)).toEqual({ reported: other, matches: false });
  });

  it('is not there where no line has that form', async () => {
    expect(await printed(`MRTD ${mrtd}`)).toBeUndefined();
    expect(await printed(`xMRTD ${mrtd}\nMRTD ${mrtd.slice(2)}\n`)).toBeUndefined();
    expect(await printed(`${'x'.repeat(5000)}MRTD ${mrtd}\n`)).toBeUndefined();
  });
});

describe('options', () => {
  it.each<[unknown, string]>([
    [{ timeout: 0 }, 'options.timeout must be 1 to 2147483647'],
    [{ timeout: 2 ** 31 }, 'options.timeout must be an integer from 0 to 2147483647'],
    [{ signal: {} }, 'options.signal must be an AbortSignal'],
    [{ consolePort: 0x10000 }, 'options.consolePort must be an integer'],
    [{ exitPort: -1 }, 'options.exitPort must be an integer'],
    [{ onExit: 1 }, 'options.onExit must be a function'],
    [{ devices: { ports: {} } }, 'options.devices.ports must be an array'],
    [{ devices: { ports: [{ first: 5, last: 4 }] } }, 'options.devices.ports[0].last must be 5 or more'],
    [{ devices: { mmio: [{ first: 0, last: 4n }] } }, 'options.devices.mmio[0].first must be a bigint'],
    [
      {
        devices: {
          ports: [
            { first: 5, last: 9 },
            { first: 1, last: 5 },
          ],
        },
      },
      'options.devices.ports[0].first must be outside the range of ports[1]',
    ],
    [{ devices: { ports: [{ first: 1, last: 1, read: 3 }] } }, 'options.devices.ports[0].read must be a function'],
  ])('%o are refused: %s', async (options, text) => {
    await expect(runVcpus({ vcpus: [] }, options as TdRunOptions)).rejects.toThrow(text);
  });

  it('ports can be moved and left out', async () => {
    const console = new Console();
    const { vcpus } = fakes(making(out(0x3f8, 'no'), out(0x2f8, 'yes'), out(0x501, 4)));
    const outcome = await runVcpus({ vcpus, console }, { consolePort: 0x2f8, exitPort: 0x501 });
    expect(outcome).toMatchObject({ how: 'exit-port', exitCode: 4, console: { bytes: 3 } });
    expect(await text(console.stream)).toBe('yes');
    const none = await runVcpus(
      { vcpus: fakes(making(out(0x3f8, 'x'))).vcpus },
      { consolePort: false, exitPort: false, timeout: 20 },
    );
    expect(none).toMatchObject({ how: 'timeout', console: { bytes: 0 } });
  });
});
