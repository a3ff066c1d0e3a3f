// node failures.mjs mock | native: what the library makes of a host that fails, one JSON line with the results by scenario.
// On the model the failures are asked for when it is opened; behind the preload library, of whoever runs this program, who
// answers each line on standard output with one on standard input.
import { readSync, writeSync } from 'node:fs';
import { bundledImage, mockMrtd, openKvm, TrustDomain } from '../../../dist/index.js';

const [backend] = process.argv.slice(2);
const PAGE = 4096;
const GPA = 0x10_0000n;
const row = (leaf, values) => ({ function: leaf, index: 0, flags: 0, eax: 0, ebx: 0, ecx: 0, edx: 0, ...values });
const params = { attributes: 1n << 28n, xfam: 0xe7n, cpuid: [row(0x8000_0008, { eax: 48 << 16 })] };

function ask(question) {
  writeSync(1, `${JSON.stringify(question)}\n`);
  const answer = Buffer.alloc(4096);
  return JSON.parse(answer.toString('utf8', 0, readSync(0, answer)));
}

const told = ({ name, code, request, hwError, tdxStatus, pagesDone, message }) => ({
  ...{ name, code, request, hwError, status: tdxStatus?.name, pagesDone },
  ...(code === undefined && { message }),
});

/** What came of it: `done`, an exit, or the error. */
async function attempt(body) {
  try {
    const result = await body();
    return result?.reason === undefined ? 'done' : result;
  } catch (error) {
    return told(error);
  }
}

const newVm = (system) => {
  const vm = system.createVm(5);
  vm.enableCap(121, [24n]);
  return vm;
};

function build(system, pages = 8) {
  const vm = newVm(system);
  vm.tdx.initVm(params);
  const vcpu = vm.createVcpu(0);
  vcpu.setCpuid2([row(1, { ecx: 1 << 21 })]);
  vcpu.tdx.initVcpu(0n);
  const size = pages * PAGE;
  const memory = system.createMemory(size);
  memory.write(0, new Uint8Array(size).fill(0x5a));
  vm.setUserMemoryRegion2({ slot: 0, flags: 4, gpa: GPA, size, memory, guestMemfd: vm.createGuestMemfd(size) });
  vm.setMemoryAttributes(GPA, BigInt(size), 8n);
  const add =
    (nrPages, first = 0) =>
    () =>
      vcpu.tdx.initMemRegion({
        ...{ source: memory, sourceOffset: first * PAGE, gpa: GPA + BigInt(first * PAGE), nrPages, measure: true },
      });
  return { vm, vcpu, add, finalize: () => vm.tdx.finalizeVm(), mrtd: () => mrtdOf(vm) };
}

const mrtdOf = (vm) => (backend === 'mock' ? Buffer.from(mockMrtd(vm)).toString('hex') : ask({ mrtd: true }).mrtd);

const all = async (...bodies) => {
  const results = [];
  for (const body of bodies) results.push(await attempt(body));
  return results;
};
const initTwice = (system) => {
  const vm = newVm(system);
  const init = () => vm.tdx.initVm(params);
  return all(
    init,
    init,
    () => vm.createVcpu(0),
    () => vm.checkExtension(66),
  );
};
const region = 'KVM_TDX_INIT_MEM_REGION';

async function runs(system, times) {
  const td = await TrustDomain.create(system, { memory: '16MiB' }, { image: bundledImage('fatal') });
  const results = [];
  // Behind its fatal error the guest halts for ever.
  while (results.length < times && results.at(-1)?.reason !== 'system-event')
    results.push(
      await attempt(() => td.vcpus[0].run({ signal: AbortSignal.timeout(5000), ports: [{ first: 0, last: 0xffff }] })),
    );
  td.close();
  return results;
}
const entering = (status, times = 1) => ({
  faults: [{ request: 'KVM_RUN', nth: 1, status, times }],
  run: (system) => runs(system, 2),
});

const init = (seamcall, status, times = 1) => ({
  faults: [{ request: 'KVM_TDX_INIT_VM', nth: 1, seamcall, status, times }],
  run: initTwice,
});

const scenarios = {
  'nothing fails': {
    faults: [],
    run: async (system) => {
      const td = build(system);
      return [...(await all(td.add(8), td.finalize)), td.mrtd()];
    },
  },
  'TDH.MNG.CREATE without entropy, ten times': init('TDH.MNG.CREATE', 'TDX_RND_NO_ENTROPY', 10),
  'TDH.MNG.INIT without entropy': init('TDH.MNG.INIT', 'TDX_RND_NO_ENTROPY'),
  'TDH.MNG.KEY.CONFIG busy': init('TDH.MNG.KEY.CONFIG', 'TDX_OPERAND_BUSY'),
  'TDH.MNG.ADDCX busy': init('TDH.MNG.ADDCX', 'TDX_OPERAND_BUSY'),
  'KVM_TDX_INIT_VM interrupted': {
    faults: [{ request: 'KVM_TDX_INIT_VM', nth: 1, errno: 'EINTR', times: 3 }],
    run: initTwice,
  },
  'KVM_CREATE_VCPU without memory': {
    faults: [{ request: 'KVM_CREATE_VCPU', nth: 1, errno: 'ENOMEM' }],
    run: (system) => {
      const vm = newVm(system);
      vm.tdx.initVm(params);
      const create = () => void vm.createVcpu(0);
      return all(create, create);
    },
  },
  ...Object.fromEntries(
    ['TDH.VP.CREATE', 'TDH.VP.ADDCX', 'TDH.VP.INIT', 'TDH.VP.WR'].map((seamcall) => [
      `${seamcall} fails`,
      {
        faults: [{ request: 'KVM_TDX_INIT_VCPU', nth: 1, seamcall, status: 'TDX_OPERAND_INVALID' }],
        run: (system) => {
          const vm = newVm(system);
          vm.tdx.initVm(params);
          const vcpu = vm.createVcpu(0);
          vcpu.setCpuid2([row(1, { ecx: 1 << 21 })]);
          const start = () => vcpu.tdx.initVcpu(0n);
          return all(start, start, () => vm.checkExtension(66));
        },
      },
    ]),
  ),
  'pages interrupted and resumed': {
    faults: [
      { request: region, nth: 1, errno: 'EINTR', skip: 3 },
      { request: region, nth: 2, errno: 'EAGAIN', skip: 1 },
      { request: region, nth: 3, errno: 'EINTR', times: 50 },
    ],
    run: async (system) => {
      const td = build(system);
      return [...(await all(td.add(8), td.finalize)), td.mrtd()];
    },
  },
  'pages interrupted for ever': {
    faults: [{ request: region, nth: 2, errno: 'EAGAIN', times: 101 }],
    run: (system) => {
      const td = build(system);
      // A hundred further tries, and then no more.
      return all(td.add(2), td.add(2, 2), td.add(2, 2), td.finalize);
    },
  },
  'TDH.MEM.PAGE.ADD busy at the second page': {
    faults: [{ request: region, nth: 1, status: 'TDX_OPERAND_BUSY', skip: 1 }],
    run: async (system) => {
      const td = build(system);
      return [...(await all(td.add(3), td.finalize, td.add(2, 1), td.finalize)), td.mrtd()];
    },
  },
  'TDH.MR.EXTEND fails in the second page': {
    faults: [{ request: region, nth: 1, seamcall: 'TDH.MR.EXTEND', status: 'TDX_OPERAND_INVALID', skip: 20 }],
    run: async (system) => {
      const td = build(system);
      return [...(await all(td.add(3), td.add(2, 1), td.finalize)), td.mrtd()];
    },
  },
  'KVM_TDX_FINALIZE_VM busy': {
    faults: [{ request: 'KVM_TDX_FINALIZE_VM', nth: 1, status: '0x8000020000000080' }],
    run: (system) => {
      const td = build(system);
      return all(td.add(1), td.finalize, td.finalize);
    },
  },
  'KVM_TDX_FINALIZE_VM fails': {
    faults: [{ request: 'KVM_TDX_FINALIZE_VM', nth: 1, status: 'TDX_OPERAND_INVALID' }],
    run: (system) => {
      const td = build(system);
      return all(td.add(1), td.finalize, td.finalize, td.add(1, 1));
    },
  },
  'KVM_RUN interrupted, busy, to be tried again': {
    faults: [
      { request: 'KVM_RUN', nth: 1, errno: 'EINTR' },
      { request: 'KVM_RUN', nth: 2, errno: 'EBUSY' },
      { request: 'KVM_RUN', nth: 3, errno: 'EAGAIN', times: 2 },
    ],
    run: (system) => runs(system, 3),
  },
  'TDH.VP.ENTER busy three times': entering('0x8000020000000080', 3),
  'TDH.VP.ENTER finds the TD broken (non-recoverable)': entering('0x6000000100000000'),
  'TDH.VP.ENTER refused': entering('TDX_OPERAND_INVALID'),
};

const results = {};
for (const [name, { faults, run }] of Object.entries(scenarios)) {
  if (backend === 'native') ask({ faults });
  const system = openKvm({ backend, ...(backend === 'mock' && { faults }) });
  results[name] = await run(system);
  system.close();
}
const json = JSON.stringify({ results }, (_, value) =>
  typeof value === 'bigint' ? `0x${value.toString(16)}` : value instanceof Uint8Array ? [...value] : value,
);
writeSync(1, `${json}\n`);
