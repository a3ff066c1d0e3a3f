import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type GuestTrace,
  loadImage,
  loadImageFile,
  mockHostOf,
  type OpenOptions,
  openKvm,
  type TdConfig,
  type TdImage,
  type TdOutcome,
  type TdRunOptions,
  TrustDomain,
} from '../../../src/index.js';
import { kernel } from '../../contract/backends.js';

const image = (name: string): TdImage =>
  loadImageFile(new URL(`../../../images/${name}.bin`, import.meta.url).pathname);

/** One page that ends at 4 GiB: `code` is what a TD executes first, in 32-bit protected mode. */
const resetVector = (...code: number[]): TdImage => {
  const page = new Uint8Array(0x1000);
  page.set(code, 0xff0);
  const pages = [{ gpa: '0xfffff000', hex: Buffer.from(page).toString('hex') }];
  return loadImage(new Uint8Array(Buffer.from(JSON.stringify({ pages }))));
};

const SPIN = [0xeb, 0xfe];
const NOTHING = { vms: 0, tds: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 };

interface Ran {
  outcome: TdOutcome;
  said: string;
}

/** Runs an image on a modelled host, and holds that nothing is left of it. */
async function run(
  open: OpenOptions,
  options: TdRunOptions & { image?: TdImage; config?: TdConfig; during?: (td: TrustDomain) => Promise<void> } = {},
): Promise<Ran> {
  using system = openKvm({ backend: 'mock', ...open });
  const { image: given, config = {}, during, ...rest } = options;
  using td = await TrustDomain.create(system, { memory: '16MiB', ...config }, given ? { image: given } : {});
  const running = td.run({ timeout: 30_000, ...rest });
  const said = text(td.console);
  await during?.(td);
  const outcome = await running;
  td.close();
  expect(mockHostOf(system)!.stats()).toMatchObject(NOTHING);
  return { outcome, said: await said };
}

const engines = ['interpreter', 'kvm'] as const;

describe.each(engines.map((engine) => ({ engine })))('a TD of the model on the engine $engine', ({ engine }) => {
  const open = { engine } as const;
  const test = it.skipIf(engine === 'kvm' && kernel.absent !== undefined);

  test('ends with what its guest says, whose own MRTD is the measured one', async () => {
    const { outcome, said } = await run(open);
    expect(outcome).toMatchObject({ how: 'exit-port', exitCode: 0, mrtd: { matches: true } });
    expect(said).toMatch(/^Hello from a Trust Domain: GPAW 48, vCPUs 1 of at most 8, /);
    expect(outcome.console).toEqual({ bytes: said.length, dropped: 0 });
  });

  test('parks all but one of several vCPUs, which are awaited when that one ends', async () => {
    const { outcome, said } = await run(open, { config: { vcpus: 4 } });
    expect(outcome).toMatchObject({ how: 'exit-port', vcpu: 0, exitCode: 0 });
    expect(outcome.vcpus).toHaveLength(4);
    expect(said).toContain('vCPUs 4 of at most 8');
  });

  test('may give up with a text', async () => {
    const { outcome } = await run(open, { image: image('fatal') });
    expect(outcome.fatal?.text).toBe('This Trust Domain ends here, and meant to.');
  });

  test('may have a triple fault', async () => {
    expect((await run(open, { image: image('triple-fault') })).outcome).toMatchObject({ how: 'triple-fault', vcpu: 0 });
  });

  test('that touches memory outside of what it was given ends with a memory fault that says so', async () => {
    // mov eax, [0xc0000000]
    const { outcome } = await run(open, { image: resetVector(0xa1, 0, 0, 0, 0xc0) });
    expect(outcome).toMatchObject({ how: 'memory-fault', exit: { gpa: 0xc000_0000n, isPrivate: true } });
    expect(outcome.advice).toMatch(/^No memory was given to the TD there; it has 0x0 to 0x1000000/);
  });

  test('that touches RAM before it has accepted it ends with a dead VM, and the reason', async () => {
    // mov eax, [0x100000]
    const { outcome } = await run(open, { image: resetVector(0xa1, 0, 0, 0x10, 0) });
    expect(outcome).toMatchObject({ how: 'vm-dead', error: { code: 'EIO' } });
    expect(outcome.advice).toContain('TDG.MEM.PAGE.ACCEPT');
  });

  test('that loops for ever ends with the timeout, the signal and close()', async () => {
    const loops = resetVector(...SPIN);
    expect((await run(open, { image: loops, timeout: 50 })).outcome.how).toBe('timeout');
    expect((await run(open, { image: loops, signal: AbortSignal.timeout(50) })).outcome.how).toBe('aborted');
    const during = async (td: TrustDomain) => {
      await sleep(50);
      td.close();
    };
    expect((await run(open, { image: loops, during })).outcome.how).toBe('closed');
  });

  test('is closed with its system in mid-run', async () => {
    const system = openKvm({ backend: 'mock', engine });
    const td = await TrustDomain.create(system, { memory: '16MiB' }, { image: resetVector(...SPIN) });
    const running = td.run();
    await sleep(50);
    system.close();
    expect(await running).toMatchObject({ how: 'closed' });
    td.close();
  });

  test('shows whoever watches the model what it asks of the TDX module', async () => {
    const seen: GuestTrace[] = [];
    const { outcome } = await run({ ...open, onGuest: (trace) => seen.push(trace) });
    expect(outcome.how).toBe('exit-port');
    const leaves = seen.filter(({ kind }) => kind === 'tdcall').map((trace) => (trace as { leaf: number }).leaf);
    expect(new Set(leaves)).toEqual(new Set([0, 1, 2, 3, 4, 6]));
    expect(seen.filter(({ kind }) => kind === 'exception')).toHaveLength(1);
  });
});

describe('the engines', () => {
  it.skipIf(kernel.absent !== undefined).each([1, 4])(
    'are told apart by nothing that the guest prints (%i vCPUs)',
    async (vcpus) => {
      const [one, other] = await Promise.all(engines.map((engine) => run({ engine }, { config: { vcpus } })));
      expect(one!.said).toBe(other!.said);
    },
  );
});
