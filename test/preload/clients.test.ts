// The clients, C programs that know KVM's documentation and nothing of us, on a model behind the preload library.
import { afterEach, describe, expect, it } from 'vitest';
import { chooseEngine } from '../../src/mock/guest/choose.js';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { WireServer } from '../../src/wire/server.js';
import { client, compilers, library, root, SANITIZED, sanitizerLibraries } from './build.js';
import { run } from './run.js';

let server: WireServer | undefined;
const reports: Error[] = [];

async function start(profile = 'spr-1.5.05'): Promise<WireServer> {
  reports.length = 0;
  const host = new MockHost(loadProfile(profile), { engine: () => chooseEngine({ wanted: 'interpreter' }) });
  server = await WireServer.listen(host, { report: (error) => reports.push(error) });
  return server;
}

afterEach(async () => {
  const host = server?.host;
  await server?.close();
  server = undefined;
  expect(reports).toEqual([]);
  expect(host?.stats()).toMatchObject({ vms: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 });
});

/** Until whoever is gone is seen to be gone. */
async function released(of: WireServer): Promise<void> {
  for (let i = 0; i < 200 && of.stats.connections > 0; i++) await new Promise((done) => setTimeout(done, 5));
}

/** Any: what they do is the same each time. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8];

const clients = [
  ['capabilities', 'capabilities, with the growing buffer', []],
  ['wrong_order', 'requests out of order', []],
  ['bad_pointers', 'bad pointers everywhere', []],
  ['launch', 'a launch, request by request', []],
  ['launch', 'a launch of a firmware image', [`${root}images/minimal.bin`]],
  ['selftests', "the three cases of KVM's selftests", []],
  ['signals', 'what ends KVM_RUN', []],
  ['inherit', 'descriptors inherited by fork and exec', []],
  ['threads', 'many threads', []],
  ['dies', 'a client that dies in the middle', ['run']],
] as const;

describe.skipIf(compilers === undefined).each([
  ['as published', undefined],
  ['under sanitizers', SANITIZED],
] as const)('a C program behind the preload library %s', (_, flags) => {
  it.each(clients)('%s: %s', async (name, _what, args) => {
    const { path } = await start();
    const preload = [...(flags ? sanitizerLibraries() : []), library(flags)];
    const { status, output } = await run(client(name, flags), args, path, preload);
    expect(output).not.toMatch(/^(not ok|Bail out)/m);
    expect(status, output).toBe(0);
    await released(server!);
    expect(server!.stats).toEqual({ connections: 0, objects: 0 });
  });

  it.each(SEEDS)('fuzz: random requests from seed %i', async (seed) => {
    const { path } = await start();
    const preload = [...(flags ? sanitizerLibraries() : []), library(flags)];
    const { status, output } = await run(client('fuzz', flags), [`${seed}`, '1500'], path, preload);
    expect(status, output).toBe(0);
    await released(server!);
    expect(server!.stats).toEqual({ connections: 0, objects: 0 });
  });
});
