// npm start: what answers here and why, what it can do in short, and a TD built, measured and run.
import { bundledImage, gatherHostFacts, measureTd, openKvm, TrustDomain } from '../dist/index.js';

const system = openKvm();
console.log(`${system.backend}: ${system.description}\n`);

const { capabilities } = gatherHostFacts(system);
const { supportedAttrs, supportedXfam, cpuid } = capabilities;
console.log(`A TD may have attributes 0x${supportedAttrs.toString(16)}, XFAM 0x${supportedXfam.toString(16)},`);
console.log(`and ${cpuid.length} CPUID leaves with bits to configure. All of it: node bin/tdxctl.js capabilities\n`);

const image = bundledImage();
const predicted = measureTd(image).mrtd;
let requests = 0;
const begin = performance.now();
const td = await TrustDomain.create(system, {}, { image, onStep: () => requests++ });
const ms = (performance.now() - begin).toFixed(0);
console.log(
  `Built the minimal TD in ${requests} steps and ${ms} ms; it may have ${td.maxVcpus.limit} vCPUs. It is ${td.state}.`,
);
console.log(`MRTD ${td.mrtd}`);
console.log(
  td.mrtd === predicted ? 'which is what was computed offline.' : `but offline it was computed as ${predicted}!`,
);
if (td.mrtd !== predicted) process.exitCode = 1;

console.log(
  `\nNext: node bin/tdxctl.js --help${system.backend === 'mock' ? ', and why this machine runs the model: node bin/tdxctl.js host' : ''}`,
);
console.log('\nThe TD runs, and says:');
const running = td.run({ timeout: 60_000 });
for await (const bytes of td.console) process.stdout.write(bytes);
const outcome = await running;
if (outcome.how !== 'exit-port' || outcome.exitCode !== 0 || !outcome.mrtd?.matches) {
  console.log(`${outcome.message}\n${outcome.advice ?? ''}`);
  process.exitCode = 1;
}
td.close();
system.close();
