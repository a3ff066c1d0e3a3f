// The model behind the preload library: its requests against the model called directly, and what the library costs a
// program's other system calls, the same program with and without it.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import {
  bundledImage,
  KVM_CAP,
  KVM_X86_TDX_VM,
  mockHostOf,
  openKvm,
  spawnWithMock,
  TrustDomain,
} from '../dist/index.js';
import { best, compileC, nsPer, report } from './common.mjs';

const ROUNDS = 5;
const client = compileC('wire');
const system = openKvm({ backend: 'mock' });

/** What the client prints, with the model in place of KVM. */
async function carried(...args) {
  let out = '';
  const onStart = (child) => child.stdout.on('data', (chunk) => (out += chunk));
  const stdio = ['ignore', 'pipe', 'inherit'];
  const { exitCode } = await spawnWithMock(mockHostOf(system), args[0], args.slice(1).map(String), { stdio, onStart });
  if (exitCode !== 0) throw new Error(`${args.join(' ')} ended with ${exitCode}`);
  return Number(out);
}

async function requests(name, mode, n, direct) {
  const ours = await best(ROUNDS, () => carried(client, mode, n));
  const theirs = await best(ROUNDS, () => nsPer(n, direct));
  report(name, { ours: 1e9 / ours, theirs: 1e9 / theirs, unit: '/s', ratio: theirs / ours });
}

const alone = (mode, n) => Number(spawnSync(client, [mode, String(n)], { encoding: 'utf8' }).stdout);

/** In turns, so that the machine's moods meet both alike. */
async function overhead(name, mode, n) {
  let [ours, theirs] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < 2 * ROUNDS; round++) {
    theirs = Math.min(theirs, alone(mode, n));
    ours = Math.min(ours, await carried(client, mode, n));
  }
  report(name, { ours, theirs, unit: 'ns', ratio: ours / theirs, aim: 'not measurable' });
}

async function launch(of) {
  const start = performance.now();
  (await TrustDomain.create(of, { memory: '16MiB' }, { image: bundledImage() })).close();
  return performance.now() - start;
}

if (process.argv[2] === 'launch') {
  // Behind the preload library: our own addon is the client.
  const native = openKvm({ backend: 'native' });
  console.log(await best(ROUNDS, () => launch(native)));
} else if (client === undefined) {
  console.log('wire: skipped (no compiler)');
} else {
  try {
    await requests('KVM_CHECK_EXTENSION through the preload', 'extension', 20_000, (n) => {
      for (let i = 0; i < n; i++) system.checkExtension(KVM_CAP.USER_MEMORY);
    });
    const vm = system.createVm(KVM_X86_TDX_VM);
    await requests('KVM_TDX_CAPABILITIES through the preload', 'capabilities', 5000, (n) => {
      for (let i = 0; i < n; i++) vm.tdx.capabilities();
    });
    vm.close();
    const direct = await best(ROUNDS, () => launch(system));
    const through = await carried(process.execPath, fileURLToPath(import.meta.url), 'launch');
    report('TDs launched through the preload', {
      ours: 1000 / through,
      theirs: 1000 / direct,
      unit: '/s',
      ratio: direct / through,
    });
    await overhead("ioctl of a program's other descriptors", 'foreign', 500_000);
    await overhead('open and close of its other files', 'open', 100_000);
  } catch (error) {
    console.log(`wire: skipped (${error.message})`);
  }
}
system.close();
