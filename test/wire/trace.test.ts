import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { diffTraces, parseTrace, Recorder, type RequestRecord, traceText, WireServer } from '../../src/wire/index.js';
import { io, iow } from '../../src/wire/layout/ioctl.js';
import { kvmEnableCap } from '../../src/wire/layout/vm.js';
import { align } from '../../src/wire/trace/align.js';
import { type Descriptor, TestThread } from './client.js';
import { addPages, buildTd, initVmBytes, mappedPages, REQUEST, tdx } from './td.js';

/** The trace of what a program does. */
async function traceOf(program: (thread: TestThread) => Promise<void>): Promise<RequestRecord[]> {
  const records: RequestRecord[] = [];
  const recorder = new Recorder((record) => records.push(record));
  const server = await WireServer.listen(new MockHost(loadProfile('spr-1.5.05')), {
    watch: (...call) => recorder.begin(...call),
  });
  const thread = await TestThread.start(server.path);
  await program(thread);
  await server.close();
  return records;
}

const create = async (thread: TestThread, type = 5n): Promise<{ kvm: Descriptor; vm: Descriptor }> => {
  const kvm = await thread.open();
  return { kvm, vm: (await thread.make(kvm, REQUEST.CREATE_VM, type)) as Descriptor };
};

const find = (records: RequestRecord[], request: string) => records.find((record) => record.request === request)!;

describe('a record', () => {
  it('names the request, its object, its arguments and what it made', async () => {
    const records = await traceOf(async (thread) => {
      await buildTd(thread);
    });
    expect(records.map(({ object, request, made }) => `${object} ${request}${made ? ` ${made}` : ''}`)).toEqual([
      'kvm KVM_CREATE_VM vm1',
      'vm1 KVM_ENABLE_CAP',
      'vm1 KVM_TDX_INIT_VM',
      'vm1 KVM_CREATE_VCPU vm1/vcpu0',
      'vm1/vcpu0 KVM_SET_CPUID2',
      'vm1/vcpu0 KVM_TDX_INIT_VCPU',
      'vm1 KVM_CREATE_GUEST_MEMFD vm1/memfd1',
      'vm1 KVM_SET_USER_MEMORY_REGION2',
      'vm1 KVM_SET_MEMORY_ATTRIBUTES',
    ]);
    expect(find(records, 'KVM_ENABLE_CAP').args).toEqual({ capability: 'KVM_CAP_SPLIT_IRQCHIP', args: ['0x18'] });
    expect(find(records, 'KVM_TDX_INIT_VM').args).toEqual({
      attributes: '0x10000000',
      xfam: '0xe7',
      nent: 1,
      cpuid: ['80000008: 00300000 00000000 00000000 00000000'],
    });
    expect(find(records, 'KVM_TDX_INIT_VCPU').args).toEqual({ rcx: '0x1234' });
    expect(records.every(({ result, pid }) => result === 0 && pid === process.pid)).toBe(true);
  });

  it('of a refused request has the errno, and the rule with its advice', async () => {
    const [, refused] = await traceOf(async (thread) => {
      const { vm } = await create(thread);
      await tdx(thread, vm, 'FINALIZE_VM');
    });
    expect(refused).toMatchObject({
      request: 'KVM_TDX_FINALIZE_VM',
      result: -1,
      errno: 'EINVAL',
      rule: { id: 'kvm.finalize.td-state', fix: expect.stringContaining('KVM_TDX_INIT_VM') },
    });
    expect(refused).not.toHaveProperty('hwError');
  });

  it("of a request that the module refused has hw_error by name, and the module's rule", async () => {
    const records = await traceOf(async (thread) => {
      const { vm } = await create(thread);
      await thread.ioctl(vm, io(0xa2), 99_000n);
      await tdx(thread, vm, 'INIT_VM', initVmBytes());
    });
    expect(find(records, 'KVM_SET_TSC_KHZ').args).toEqual({ khz: 99_000 });
    expect(find(records, 'KVM_TDX_INIT_VM')).toMatchObject({
      errno: 'EINVAL',
      hwError: 'TDX_OPERAND_INVALID (0xc000010000000046), operand TSC_FREQUENCY',
      moduleRule: { id: expect.stringMatching(/^module\.mng-init\./) },
    });
  });

  it('of a request that nobody knows has its number', async () => {
    const [, unknown, missing] = await traceOf(async (thread) => {
      const { vm } = await create(thread);
      await thread.ioctl(vm, 0x1234);
      await thread.ioctl(vm, iow(0xbd, 24));
    });
    expect(unknown).toMatchObject({
      request: 'request 0x00001234',
      errno: 'ENOTTY',
      rule: { id: 'kvm.request.number-vm' },
    });
    expect(missing).toMatchObject({ request: 'KVM_HYPERV_EVENTFD', rule: { id: 'kvm.request.not-modelled' } });
  });

  it('says where an argument is not mapped', async () => {
    const [, fault] = await traceOf(async (thread) => {
      const { vm } = await create(thread);
      await thread.ioctl(vm, iow(0xa3, kvmEnableCap), 0x10n);
    });
    expect(fault).toMatchObject({ args: { arg: '0x10', fault: 'not mapped' }, errno: 'EFAULT' });
  });
});

describe('text', () => {
  const record: RequestRecord = {
    time: 12.3456,
    duration: 1,
    pid: 1,
    tid: 2,
    object: 'vm1',
    request: 'KVM_TDX_INIT_VM',
    args: { attributes: '0x1', cpuid: Array(18).fill('7.0: 00000000 00000000 00000000 00000000') },
    result: -1,
    errno: 'EINVAL',
    rule: { id: 'kvm.a', what: 'It holds', fix: 'Make it hold', source: 'tdx.c' },
  };

  it('is the call in one line, and the rule below it', () => {
    expect(traceText(record)).toBe(
      '     12.346 2 vm1        KVM_TDX_INIT_VM attributes=0x1 cpuid=[18 entries] = -1 EINVAL\n' +
        '             rule kvm.a: It holds. Make it hold. [tdx.c]',
    );
  });

  it("shows the module's rule in place of KVM's, which only says that the module refused", () => {
    const moduleRule = { id: 'module.b', what: 'So it is', fix: 'Do so', source: 'td_init.c' };
    expect(traceText({ ...record, moduleRule }).split('\n')[1]).toBe(
      '             module rule module.b: So it is. Do so. [td_init.c]',
    );
  });
});

describe('two traces', () => {
  const launch = async (thread: TestThread): Promise<void> => {
    const td = await buildTd(thread);
    await addPages(thread, td, mappedPages(2).address, 2);
    await tdx(thread, td.vm, 'FINALIZE_VM');
  };

  it('of the same launch mean the same, wherever its memory lies and whatever its descriptors are', async () => {
    const [a, b] = [await traceOf(launch), await traceOf(launch)];
    const moved = b.map((record) => ({
      ...record,
      pid: 1,
      object: record.object.replace('vm1', 'vm7').replace('memfd1', 'memfd3'),
      ...(record.made && { made: record.made.replace('vm1', 'vm7').replace('memfd1', 'memfd3') }),
      args: {
        ...record.args,
        ...('source_addr' in record.args && { source_addr: '0x1000' }),
        ...('guest_memfd' in record.args && { guest_memfd: 99 }),
      },
    }));
    expect(diffTraces(a, moved)).toEqual({ a: a.length, b: a.length, same: a.length, differences: [] });
  });

  it('differ in an argument, a result, and the requests that one lacks', async () => {
    const a = await traceOf(launch);
    const b = a
      .filter(({ request }) => request !== 'KVM_TDX_INIT_MEM_REGION')
      .map((record) =>
        record.request === 'KVM_TDX_INIT_VM' ? { ...record, args: { ...record.args, attributes: '0x0' } } : record,
      );
    const { differences, same } = diffTraces(a, b);
    expect(same).toBe(a.length - 2);
    expect(differences).toMatchObject([
      { kind: 'changed', fields: [{ field: 'args.attributes', a: '0x10000000', b: '0x0' }] },
      { kind: 'only-a', record: { request: 'KVM_TDX_INIT_MEM_REGION' } },
    ]);
  });

  it('are compared without what only asks, unless that is wanted', async () => {
    const asks = await traceOf(async (thread) => {
      const { kvm } = await create(thread);
      await thread.ioctl(kvm, REQUEST.CHECK_EXTENSION, 136n);
    });
    const silent = asks.slice(0, 1);
    expect(diffTraces(asks, silent).differences).toEqual([]);
    expect(diffTraces(asks, silent, { questions: true }).differences).toMatchObject([
      { kind: 'only-a', record: { args: { capability: 'KVM_CAP_IMMEDIATE_EXIT' } } },
    ]);
  });

  it('tell a null pointer from an address', () => {
    const region = (userspace_addr: string): RequestRecord => ({
      ...{ time: 0, duration: 0, pid: 1, tid: 1, object: 'vm1', request: 'KVM_SET_USER_MEMORY_REGION2', result: 0 },
      args: { slot: 1, userspace_addr },
    });
    expect(diffTraces([region('0x7000')], [region('0x9000')]).differences).toEqual([]);
    expect(diffTraces([region('0x7000')], [region('0x0')]).differences).toMatchObject([
      { fields: [{ field: 'args.userspace_addr', a: 'memory of the slot', b: 'NULL' }] },
    ]);
  });

  it('are read from JSON lines, and a line that is none is told', () => {
    const line = '{"object":"kvm","request":"KVM_CREATE_VM","args":{},"result":0}';
    expect(parseTrace(`${line}\n\n${line}\n`, 'a.jsonl')).toHaveLength(2);
    expect(() => parseTrace(`${line}\nfoo`, 'a.jsonl')).toThrow(
      'a.jsonl, line 2: not JSON; expected what --trace-format',
    );
    expect(() => parseTrace('{"object":"kvm"}', 'b')).toThrow('b, line 1: request is no string');
  });
});

describe('lists laid side by side', () => {
  const letters = fc.array(fc.constantFrom('a', 'b', 'c'), { maxLength: 12 });

  /** The length of the longest common subsequence, by definition. */
  const longest = (a: string[], b: string[]): number => {
    if (a.length === 0 || b.length === 0) return 0;
    if (a[0] === b[0]) return 1 + longest(a.slice(1), b.slice(1));
    return Math.max(longest(a.slice(1), b), longest(a, b.slice(1)));
  };

  it('keep their order, and as many elements as possible meet', () => {
    fc.assert(
      fc.property(letters, letters, (a, b) => {
        const pairs = align(a, b, (letter) => letter);
        expect(pairs.flatMap((pair) => pair.a ?? [])).toEqual(a);
        expect(pairs.flatMap((pair) => pair.b ?? [])).toEqual(b);
        const met = pairs.filter((pair) => pair.a !== undefined && pair.b !== undefined);
        for (const pair of met) expect(pair.a).toBe(pair.b);
        expect(met).toHaveLength(longest(a, b));
      }),
    );
  });

  it('of many elements do not need all the memory there is', () => {
    const long = Array.from({ length: 20_000 }, (_, i) => `${i % 97}`);
    const pairs = align(long, ['x', ...long.slice(3), 'y'], (element) => element);
    expect(pairs.filter(({ a, b }) => a !== undefined && b !== undefined).length).toBeGreaterThan(19_000);
  });
});
