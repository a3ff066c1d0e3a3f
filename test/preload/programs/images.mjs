// node images.mjs BACKEND: runs the bundled images, one after the other, and prints how each ended as JSON.
import { bundledImage, openKvm, TrustDomain } from '../../../dist/index.js';

const [backend] = process.argv.slice(2);
const system = openKvm({ backend });
const ends = {};
for (const name of ['minimal', 'fatal', 'triple-fault']) {
  const td = await TrustDomain.create(system, { memory: '16MiB' }, { image: bundledImage(name) });
  const running = td.run({ timeout: 20_000 });
  const chunks = [];
  for await (const chunk of td.console) chunks.push(chunk);
  // How long it took is no part of how it ended.
  const {
    durationMs,
    vcpus: [{ exits }],
    ...outcome
  } = await running;
  ends[name] = { ...outcome, exits, text: Buffer.concat(chunks).toString('latin1'), measured: td.mrtd };
  td.close();
}
system.close();
console.log(JSON.stringify(ends, (_, value) => (typeof value === 'bigint' ? `0x${value.toString(16)}` : value)));
