// What may a TD be configured with here, and would this one work?
//   node examples/query.mjs
import { gatherHostFacts, KVM_CAP, KVM_X86_TDX_VM, openKvm, validateTd } from 'kvm-tdx';

// The real kernel where it offers TDs, the model elsewhere. What answers is in every output of ours, and should be in yours.
const system = openKvm();
console.log(`${system.backend}: ${system.description}`);

// The capabilities are a VM's: its descriptor exists, but no TD does until KVM_TDX_INIT_VM.
const vm = system.createVm(KVM_X86_TDX_VM);
const { supportedAttrs, supportedXfam, cpuid } = vm.tdx.capabilities();
const hex = (value) => `0x${value.toString(16)}`;

console.log(`attributes that may be set  ${hex(supportedAttrs)}`);
console.log(`XFAM bits that may be set   ${hex(supportedXfam)}`);
// Ask the VM, not /dev/kvm: a TD's limit is another.
console.log(`vCPUs of a TD at most       ${vm.checkExtension(KVM_CAP.MAX_VCPUS)}`);
console.log('CPUID bits that may be configured, by leaf and sub-leaf:');
for (const { function: leaf, index, eax, ebx, ecx, edx } of cpuid) {
  const registers = Object.entries({ eax, ebx, ecx, edx }).filter(([, mask]) => mask !== 0);
  const masks = registers.map(([name, mask]) => `${name} ${hex(mask)}`).join('  ');
  console.log(`  ${hex(leaf)}.${index}  ${masks || 'none'}`);
}
vm.close();

// A configuration is checked before anything is built, and every finding is reported, not only the first.
const config = { vcpus: 2, memory: '512MiB', tscKhz: 2_110_000, xfam: ['AVX', 'AVX512'] };
for (const { severity, path, what, fix } of validateTd(config, gatherHostFacts(system))) {
  console.log(`${severity}: ${path}: ${what}. ${fix}.`);
}

system.close();
