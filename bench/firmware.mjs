// Debian's OVMF on the model, from its first instruction to its boot manager: seconds, exits and TDCALLs to each milestone.
// Minutes: only when asked for (node bench/run.mjs firmware). KVM_TDX_BENCH_ENGINE chooses the engine, KVM_TDX_BENCH_FIRMWARE another image.
import { existsSync, readFileSync } from 'node:fs';
import { loadImage, Milestones, openKvm, q35Platform, TrustDomain } from '../dist/index.js';
import { report } from './common.mjs';

const { KVM_TDX_BENCH_FIRMWARE: path = '/usr/share/ovmf/OVMF.fd', KVM_TDX_BENCH_ENGINE: engine = 'interpreter' } =
  process.env;
const MEMORY = 128 << 20;
/** Of a host that lets firmware share RBP, as this one does. */
const PROFILE = 'spr-1.5.06-rbp';

async function firmware() {
  const stop = new AbortController();
  let milestones;
  const system = openKvm({ backend: 'mock', profile: PROFILE, engine, onGuest: (event) => milestones?.guest(event) });
  try {
    const td = await TrustDomain.create(system, { memory: MEMORY }, { image: loadImage(readFileSync(path)) });
    milestones = new Milestones(undefined, ({ name, what, reached: { atMs, exits, tdcalls } }) => {
      report(what, { ours: atMs / 1000, unit: `s  ${exits} exits  ${tdcalls} TDCALLs` });
      if (name === 'boot-manager') stop.abort();
    });
    const devices = q35Platform({ memory: MEMORY });
    const running = td.run({ signal: stop.signal, devices, onEvent: ({ exit }) => milestones.exit(exit) });
    for await (const bytes of td.console) milestones.text(Buffer.from(bytes).toString('latin1'));
    const outcome = await running;
    const exits = outcome.vcpus.reduce((sum, vcpu) => sum + vcpu.exits, 0);
    if (!stop.signal.aborted)
      console.log(`firmware: ended before its boot manager, after ${exits} exits: ${outcome.message}`);
    td.close();
  } finally {
    system.close();
  }
}

if (existsSync(path)) {
  console.log(`firmware ${path}, engine ${engine}, profile ${PROFILE}:`);
  await firmware();
} else console.log(`firmware: skipped (no ${path})`);
