// Every method of the seam with arguments that are odd: { label, call(world) }.
import fc from 'fast-check';
import { oddBigint, oddBytes, oddList, oddNumber, oddRecord, oddValue } from './odd-values.mjs';

const entryFields = ['function', 'index', 'flags', 'eax', 'ebx', 'ecx', 'edx'];
const entry = oddRecord(entryFields, () => Object.fromEntries(entryFields.map((field) => [field, 0])));

const slotFields = ['slot', 'flags', 'gpa', 'size', 'memory', 'memoryOffset'];
const slot = (world) => ({ slot: 9, gpa: 0x10_0000n, size: 4096, memory: world.memory });

const segments = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'];
const sregsFields = [
  ...['cs', 'cs.base', 'cs.limit', 'ss.selector', 'tr.type', 'ldt.unusable', 'ds.present', 'gs.dpl'],
  ...['gdt', 'gdt.limit', 'idt.base', 'cr0', 'cr3', 'efer', 'apicBase', 'interruptBitmap'],
];
const sregs = () => ({
  ...Object.fromEntries(
    segments.map((name) => [
      name,
      {
        base: 0n,
        limit: 0xffff,
        selector: 0,
        type: 3,
        present: 1,
        dpl: 0,
        db: 0,
        s: 1,
        l: 0,
        g: 0,
        avl: 0,
        unusable: 0,
      },
    ]),
  ),
  gdt: { base: 0n, limit: 0xffff },
  idt: { base: 0n, limit: 0xffff },
  ...Object.fromEntries(['cr0', 'cr2', 'cr3', 'cr4', 'cr8', 'efer'].map((name) => [name, 0n])),
  apicBase: 0xfee0_0900n,
  interruptBitmap: [0n, 0n, 0n, 0n],
});
const regsFields = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp', 'rip', 'rflags'].concat(
  Array.from({ length: 8 }, (_, i) => `r${i + 8}`),
);
const regs = () => Object.fromEntries(regsFields.map((name) => [name, name === 'rflags' ? 2n : 0n]));

const runFields = [
  'reply',
  'reply.data',
  'reply.ret',
  'reply.tdVmCallInfo',
  'reply.tdVmCallInfo.r11',
  'signal',
  'ports',
];
const port = oddRecord(['first', 'last', 'readByte', 'gather'], () => ({ first: 1, last: 2 }));
const initFields = ['attributes', 'xfam', 'mrConfigId', 'mrOwner', 'mrOwnerConfig', 'cpuid'];
const memRegionFields = ['source', 'sourceOffset', 'gpa', 'nrPages', 'measure', 'onProgress'];
const memRegion = (world) => ({ source: world.memory, sourceOffset: 0, gpa: 0n, nrPages: 1, measure: true });

/** What is called on, how it is called, and what with. */
const methods = [
  ['system', 'getApiVersion', oddValue],
  ['system', 'checkExtension', oddNumber],
  ['system', 'createVm', oddNumber],
  ['system', 'getVcpuMmapSize'],
  ['system', 'getSupportedCpuid'],
  ['system', 'createMemory', oddNumber],
  ['vm', 'checkExtension', oddNumber],
  ['vm', 'enableCap', oddNumber, oddList(oddBigint), oddNumber],
  ['vm', 'createVcpu', oddNumber],
  ['vm', 'setTscKhz', oddNumber],
  ['vm', 'getTscKhz', oddValue],
  ['vm', 'setUserMemoryRegion', oddRecord(slotFields, slot)],
  [
    'vm',
    'setUserMemoryRegion2',
    oddRecord([...slotFields, 'guestMemfd', 'guestMemfdOffset'], (world) => ({
      ...slot(world),
      guestMemfd: world.memfd,
    })),
  ],
  ['vm', 'createGuestMemfd', oddNumber, oddBigint],
  ['vm', 'setMemoryAttributes', oddBigint, oddBigint, oddBigint],
  ['vm', 'setTssAddr', oddNumber],
  ['vm', 'setIdentityMapAddr', oddBigint],
  ['vmTdx', 'capabilities'],
  ['vmTdx', 'initVm', oddRecord(initFields, () => ({ attributes: 0n, xfam: 3n, cpuid: [] }))],
  [
    'vmTdx',
    'initVm',
    oddList(entry).map(({ label, make }) => ({
      label: `{ cpuid: ${label} }`,
      make: (world) => ({ attributes: 0n, xfam: 3n, cpuid: make(world) }),
    })),
  ],
  ['vmTdx', 'finalizeVm'],
  ['vmTdx', 'terminateVm'],
  ['vcpu', 'setCpuid2', oddList(entry)],
  ['vcpu', 'getRegs', oddValue],
  ['vcpu', 'setRegs', oddRecord(regsFields, regs)],
  ['vcpu', 'setSregs', oddRecord(sregsFields, sregs)],
  ['vcpu', 'run', oddRecord(runFields, () => ({}))],
  [
    'vcpu',
    'run',
    oddList(port).map(({ label, make }) => ({
      label: `{ ports: ${label} }`,
      make: (world) => ({ ports: make(world) }),
    })),
  ],
  ['vcpu', 'takePortOutput', oddValue],
  ['vcpuTdx', 'initVcpu', oddBigint],
  ['vcpuTdx', 'initMemRegion', oddRecord(memRegionFields, memRegion)],
  ['vcpuTdx', 'getCpuid'],
  ['memory', 'read', oddNumber, oddNumber],
  ['memory', 'write', oddNumber, oddBytes],
  ['memory', 'discard', oddNumber, oddNumber],
  ['memfd', 'punchHole', oddNumber, oddNumber],
];

const objectOf = (world, target) =>
  target === 'vmTdx' ? world.vm.tdx : target === 'vcpuTdx' ? world.vcpu.tdx : world[target];

const otherThis = fc.oneof({ weight: 15, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: oddValue });

/** `closed`: on a closed object. `self`: on some other object. */
export const oddCall = fc
  .tuple(fc.constantFrom(...methods), fc.constantFrom(false, false, true), otherThis)
  .chain(([[target, method, ...args], closed, self]) =>
    fc.tuple(...args).map((values) => ({
      target,
      method,
      closed,
      self,
      label: `${closed ? 'closed ' : ''}${target}.${method}(${values.map(({ label }) => label).join(', ')})${self ? ` on ${self.label}` : ''}`,
      call(world) {
        const object = objectOf(closed ? world.closed : world, target);
        const made = values.map(({ make }) => make(world));
        return Reflect.apply(object[method], self ? self.make(world) : object, made);
      },
    })),
  );
