// Builds the minimal TD that comes with the package, runs it, shows what it prints and says how it ended.
//   node examples/launch.mjs
import { openKvm, TrustDomain } from 'kvm-tdx';

const system = openKvm();
console.log(`${system.backend}: ${system.description}`);

// Every field of a configuration has a default; schema/td.schema.json lists them. An `image` among the options would be
// firmware or a page list of yours: loadImageFile('OVMF.fd').
const td = await TrustDomain.create(system, { vcpus: 1, memory: '16MiB' });

// Other than an error, a finding or a difference does not stop a launch: look at them.
for (const { severity, path, what } of td.findings) console.log(`${severity}: ${path}: ${what}`);
for (const { leaf, register, reason } of td.differences)
  console.log(`CPUID 0x${leaf.toString(16)} ${register}: ${reason}`);
console.log(`MRTD ${td.mrtd}, ${td.state}\n`);

// run() resolves when the guest has ended, whatever it did; it rejects for wrong use only. `td.console` is a web stream of
// bytes: begin to read it before you await the outcome, and nothing of it is lost.
const running = td.run({ timeout: 60_000 });
for await (const bytes of td.console) process.stdout.write(bytes);
const outcome = await running;

console.log(`\n${outcome.message}`);
// What probably caused it and what to do, where the guest did not simply exit.
if (outcome.advice) console.log(outcome.advice);
// The minimal TD prints the MRTD of its own TDREPORT. Elsewhere a verifier compares what a quote says with td.mrtd.
if (outcome.mrtd) console.log(`The guest ${outcome.mrtd.matches ? 'agrees' : 'does not agree'} about its MRTD.`);

// Gives back the KeyID, the memory and the descriptors. `using td = ...` does it by itself.
td.close();
system.close();
process.exitCode = outcome.how === 'exit-port' ? outcome.exitCode : 1;
