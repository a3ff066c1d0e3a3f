// A host that fails: what our own addon makes of it on the model behind the preload library, and the model called directly.
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import type { Fault } from '../../src/mock/faults.js';
import { chooseEngine } from '../../src/mock/guest/choose.js';
import { MockHost } from '../../src/mock/kernel/host.js';
import { loadProfile } from '../../src/mock/profiles.js';
import { nativeStatus } from '../../src/native/index.js';
import { spawnWithMock } from '../../src/wire/index.js';
import { runChild } from '../native/child.js';
import { preloadLibrary, root } from './build.js';

const usable = existsSync(preloadLibrary) && nativeStatus().available;
const PROGRAM = 'preload/programs/failures.mjs';

type Results = Record<string, unknown[]>;

async function direct(): Promise<Results> {
  const ended = await runChild(PROGRAM, ['mock']);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  return JSON.parse(ended.stdout).results;
}

/** The program asks for the failures of its next scenario, and for what only the host knows of its TD. */
async function carried(): Promise<Results> {
  const host = new MockHost(loadProfile('spr-1.5.05'), { engine: () => chooseEngine({ wanted: 'interpreter' }) });
  const { faults } = host;
  let results: Results | undefined;
  const answer = (question: { faults?: Fault[]; results?: Results }): object => {
    results = question.results;
    const asked = question.faults ?? [];
    for (const fault of asked) faults.add({ ...fault, nth: faults.calls(fault.request) + fault.nth });
    const [vm] = [...host.vms].filter(({ td }) => td?.mrtd !== undefined).slice(-1);
    return question.faults ? {} : { mrtd: Buffer.from(vm?.td?.mrtd ?? []).toString('hex') };
  };
  const onStart = (child: ChildProcess): void => {
    createInterface(child.stdout!).on('line', (line) =>
      child.stdin!.write(`${JSON.stringify(answer(JSON.parse(line)))}\n`),
    );
    child.stdin!.on('error', () => {});
  };
  const ended = await spawnWithMock(host, process.execPath, [`${root}test/${PROGRAM}`, 'native'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    signal: AbortSignal.timeout(40_000),
    onStart,
  });
  expect(ended).toEqual({ exitCode: 0, signal: null, connected: true });
  expect(host.stats()).toMatchObject({ vms: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 });
  return results!;
}

describe.skipIf(!usable)('a host that fails, through the addon behind the preload library', () => {
  it('fails as it does through the model called directly: errno, status, pages done, what works afterwards', async () => {
    const [expected, actual] = await Promise.all([direct(), carried()]);
    expect(Object.keys(expected).length).toBeGreaterThan(15);
    expect(actual).toEqual(expected);
  });
});
