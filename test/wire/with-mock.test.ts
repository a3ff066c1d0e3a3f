import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, expect, it } from 'vitest';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { mockEnvironment, type RequestRecord, spawnWithMock, WireServer } from '../../src/wire/index.js';
import { shell, tdxctl, temporaryFolder } from '../cli/tdxctl.js';
import { client, compilers, library } from '../preload/build.js';

const file = temporaryFolder();
const sockets = () => readdirSync(tmpdir()).filter((name) => name.startsWith('kvm-tdx-'));

describe.skipIf(compilers === undefined)('tdxctl with-mock', () => {
  const env = () => ({ KVM_TDX_PRELOAD: library() });
  const withMock = (...args: string[]) => tdxctl(['with-mock', ...args], { env: env() });

  it('gives a program a /dev/kvm with TDX, and nothing is left of it', () => {
    const before = sockets();
    const { code, out, err } = withMock('--', client('capabilities'));
    expect([code, err]).toEqual([0, '']);
    expect(out).toContain('ok 2 - KVM_CAP_VM_TYPES has KVM_X86_TDX_VM');
    expect(sockets()).toEqual(before);
  });

  it('gives it to what the program starts, too', () => {
    expect(withMock('--', 'sh', '-c', `${client('capabilities')} | grep -c '^ok'`)).toMatchObject({ code: 0, err: '' });
  });

  it('models the host that is asked for', () => {
    expect(withMock('--profile', 'no-such', '--', 'true')).toMatchObject({ code: 2 });
    expect(withMock('--profile', 'gnr-1.5.06', '--', client('capabilities'))).toMatchObject({ code: 0 });
  });

  it('ends as the program ends', () => {
    expect(withMock('--', 'sh', '-c', 'exit 7').code).toBe(7);
    expect(withMock('--', 'sh', '-c', 'kill -TERM $$').code).toBe(128 + 15);
  });

  it('says so when the program never came to the model', () => {
    expect(withMock('--', 'true').err).toContain("true never opened the model's /dev/kvm; statically linked");
  });

  it('says so when there is no such program: 127', () => {
    expect(withMock('--', 'no-such-program')).toMatchObject({
      code: 127,
      err: 'tdxctl: no-such-program: command not found\n',
    });
  });

  it('says what is missing where the preload library is not built', () => {
    const { code, err } = tdxctl(['with-mock', '--', 'true'], { env: { KVM_TDX_PRELOAD: '/nowhere/x.so' } });
    expect(code).toBe(1);
    expect(err).toContain('the preload library is not there: /nowhere/x.so: no such file');
  });

  it('sends SIGTERM on to the program', () => {
    const up = file('up', '');
    const program = `trap "exit 9" TERM; echo up; for i in $(seq 200); do sleep 0.05; done`;
    const start = `KVM_TDX_PRELOAD=${library()} $TDXCTL with-mock -- sh -c '${program}' > ${up} 2>&1 &`;
    const wait = `for i in $(seq 200); do grep -q up ${up} && break; sleep 0.05; done`;
    expect(shell(`${start}\n${wait}\nkill -TERM $!\nwait $!`).code).toBe(9);
  });

  it('writes a trace as text: every request, and the rule behind a refusal', () => {
    const { err } = withMock('--trace', '-', '--', client('capabilities'));
    expect(err).toMatch(/ vm1 +KVM_TDX_CAPABILITIES nent=1 = -1 E2BIG\n +rule kvm\.capabilities\.nent: /);
  });

  it('writes traces as JSON that trace diff compares', () => {
    const [a, b] = [file('a.jsonl', ''), file('b.jsonl', '')];
    for (const [path, program] of [
      [a, 'capabilities'],
      [b, 'wrong_order'],
    ] as const)
      withMock('--trace', path, '--trace-format', 'json', '--', client(program));
    expect(tdxctl(['trace', 'diff', '--questions', a, a])).toMatchObject({ code: 0, err: '' });
    const different = tdxctl(['trace', 'diff', '--json', a, b]);
    expect(different.code).toBe(1);
    expect(different.json()).toMatchObject({
      differences: expect.arrayContaining([{ kind: 'only-b', record: expect.anything() }]),
    });
    expect(tdxctl(['trace', 'diff', a, b]).out).toMatch(/^\+ vm1 KVM_TDX_FINALIZE_VM \{\} = EINVAL$/m);
    expect(readFileSync(a, 'utf8').split('\n').length).toBeGreaterThan(10);
  });

  it('refuses a trace that is none', () => {
    const { code, err } = tdxctl(['trace', 'diff', file('x.jsonl', 'hello\n'), '/nowhere']);
    expect(code).toBe(2);
    expect(err).toMatch(/x\.jsonl, line 1: not JSON; expected what --trace-format json writes/);
  });
});

describe.skipIf(compilers === undefined)('spawnWithMock', () => {
  it('runs a program on a host of a test suite, and shows each request', async () => {
    process.env['KVM_TDX_PRELOAD'] = library();
    const host = new MockHost(loadProfile('spr-1.5.05'));
    const requests: RequestRecord[] = [];
    let out = '';
    const result = await spawnWithMock(host, client('capabilities'), [], {
      stdio: ['ignore', 'pipe', 'inherit'],
      onStart: (child) =>
        child.stdout!.on('data', (chunk) => {
          out += chunk;
        }),
      onRequest: (record) => requests.push(record),
    });
    expect(result).toEqual({ exitCode: 0, signal: null, connected: true });
    expect(out).toContain('1..');
    expect(requests.at(0)?.pid).toBeGreaterThan(0);
    expect(host.stats()).toMatchObject({ vms: 0, keyIdsInUse: 0 });
  });

  it('ends the program when its signal is aborted', async () => {
    const host = new MockHost(loadProfile('spr-1.5.05'));
    const abort = new AbortController();
    const ended = spawnWithMock(host, 'sleep', ['60'], { signal: abort.signal, onStart: () => abort.abort() });
    expect(await ended).toEqual({ exitCode: null, signal: 'SIGTERM', connected: false });
  });

  it('rejects with the error of the system where there is no such program', async () => {
    const host = new MockHost(loadProfile('spr-1.5.05'));
    await expect(spawnWithMock(host, 'no-such-program')).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('keeps what is preloaded already, in front', async () => {
    await using server = await WireServer.listen(new MockHost(loadProfile('spr-1.5.05')));
    const env = mockEnvironment(server, { LD_PRELOAD: 'libasan.so', PATH: '/bin' });
    expect(env).toEqual({ PATH: '/bin', LD_PRELOAD: `libasan.so:${library()}`, KVM_TDX_MOCK: server.path });
  });
});
