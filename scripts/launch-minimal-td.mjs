// Builds the minimal TD that comes with the package, up to KVM_TDX_FINALIZE_VM, and prints its measurement.
//   node scripts/launch-minimal-td.mjs
import { openKvm, TrustDomain } from '../dist/index.js';

const system = openKvm();
console.log(`${system.backend}: ${system.description}`);

// Every field of a configuration has a default; schema/td.schema.json lists them.
const td = await TrustDomain.create(
  system,
  { vcpus: 1, memory: '16MiB' },
  // A step is a request to KVM; long ones also report their progress.
  {
    onStep: ({ name, request, durationMs }) =>
      console.log(`${durationMs.toFixed(1).padStart(7)} ms  ${request}  ${name}`),
  },
);

// Other than an error, a finding or a difference does not stop a launch: look at them.
for (const { severity, path, what } of td.findings) console.log(`${severity}: ${path}: ${what}`);
for (const { leaf, register, reason } of td.differences)
  console.log(`CPUID 0x${leaf.toString(16)} ${register}: ${reason}`);
console.log(`MRTD ${td.mrtd}, ${td.state}`);

// Gives back the KeyID, the memory and the descriptors. `using td = ...` does it by itself.
td.close();
system.close();
