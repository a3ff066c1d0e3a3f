// What running costs: console bytes a second through a run's console, and TDs from nothing to their greeting and closed again.
import { openKvm, runVcpus, TrustDomain } from '../dist/index.js';
import { best, report } from './common.mjs';

/** A plain VM whose guest writes `n` bytes to the console and ends through the exit port. */
function printer(system, n) {
  // mov dx, 0x3f8; mov al, 'A'; mov ecx, n; again: out dx, al; dec ecx; jnz again; mov dl, 0xf4; mov dh, 0; mov al, 0; out dx, al
  const code = Uint8Array.from([
    0xba, 0xf8, 0x03, 0xb0, 0x41, 0x66, 0xb9, 0, 0, 0, 0, 0xee, 0x66, 0x49, 0x75, 0xfb, 0xb2, 0xf4, 0xb6, 0, 0xb0, 0,
    0xee,
  ]);
  new DataView(code.buffer).setUint32(7, n, true);
  const vm = system.createVm(0);
  const memory = system.createMemory(0x10000);
  memory.write(0x1000, code);
  vm.setUserMemoryRegion({ slot: 0, gpa: 0n, size: 0x10000, memory });
  const vcpu = vm.createVcpu(0);
  const sregs = vcpu.getSregs();
  vcpu.setSregs({ ...sregs, cs: { ...sregs.cs, base: 0n, selector: 0 } });
  vcpu.setRegs({ ...vcpu.getRegs(), rip: 0x1000n, rflags: 2n });
  return { vm, vcpu, memory };
}

/** Nanoseconds a byte. @param options of the run. */
async function nsPerByte(system, n, options) {
  const { vm, vcpu, memory } = printer(system, n);
  const start = process.hrtime.bigint();
  const outcome = await runVcpus({ vcpus: [vcpu] }, options);
  const elapsed = Number(process.hrtime.bigint() - start);
  if (outcome.how !== 'exit-port' || outcome.console.bytes !== n) throw new Error(outcome.message);
  vm.close();
  memory.close();
  return elapsed / n;
}

async function consoles() {
  let system;
  try {
    system = openKvm({ backend: 'native' });
  } catch (error) {
    console.log(`console: skipped (${error.message})`);
    return;
  }
  const gathered = await best(4, () => nsPerByte(system, 50_000, {}));
  const each = await best(3, () => nsPerByte(system, 10_000, { onEvent: () => {} }));
  report('console bytes, gathered on the thread', { ours: 1e9 / gathered, unit: '/s' });
  report('console bytes, each an event', {
    ours: 1e9 / each,
    unit: '/s',
    theirs: 1e9 / gathered,
    ratio: gathered / each,
  });
  system.close();
}

/** Milliseconds from a configuration to the greeting read and everything given back. */
async function msPerTd(system) {
  const start = performance.now();
  const td = await TrustDomain.create(system, { memory: '16MiB' });
  const running = td.run({ timeout: 60_000 });
  let bytes = 0;
  for await (const chunk of td.console) bytes += chunk.length;
  const outcome = await running;
  td.close();
  if (outcome.how !== 'exit-port' || outcome.exitCode !== 0 || bytes === 0) throw new Error(outcome.message);
  return performance.now() - start;
}

async function greetings(name, options) {
  const system = openKvm(options);
  try {
    const ms = await best(8, () => msPerTd(system));
    report(`TDs to their greeting and closed, ${name}`, { ours: 1000 / ms, unit: '/s' });
  } catch (error) {
    console.log(`TDs on ${name}: skipped (${error.message})`);
  } finally {
    system.close();
  }
}

await consoles();
await greetings('engine interpreter', { backend: 'mock', engine: 'interpreter' });
await greetings('engine kvm', { backend: 'mock', engine: 'kvm' });
const here = openKvm();
const native = here.backend === 'native';
here.close();
if (native) await greetings('TDX', { backend: 'native' });
