import { NativeCpuid } from '../cpuid/native.js';
import { DEFAULT_PROFILE, loadProfile, openMock, type Profile } from '../mock/index.js';
import { NOT_MODELLED } from './check.js';
import { MODULE_VERSION_FILE } from './module-version.js';
import { type CpuidRegisters, found, type HostReaders, missing } from './readers.js';

type Place = readonly [leaf: number, register: keyof CpuidRegisters, bit: number];

/** Flags of /proc/cpuinfo that checks ask for, and where CPUID has them. */
const FLAGS: Readonly<Record<string, Place>> = {
  vmx: [1, 'ecx', 5],
  xsave: [1, 'ecx', 26],
  hypervisor: [1, 'ecx', 31],
  ss: [1, 'edx', 27],
  movdir64b: [7, 'ecx', 28],
};

const text = (...registers: number[]): string => {
  const bytes = Buffer.alloc(registers.length * 4);
  registers.forEach((value, i) => {
    bytes.writeUInt32LE(value, i * 4);
  });
  return bytes.toString('latin1');
};

const nothing = (what: string) => missing(NOT_MODELLED, `the model has no ${what}`);

/** Readers of a modelled host: its processor, registers, kernel and KVM. The rest the model has nothing of. */
export function modelReaders(source: string = DEFAULT_PROFILE): HostReaders {
  const profile = loadProfile(source);
  const system = openMock({ profile });
  const cpuid = new NativeCpuid(profile.platform.cpuid);
  const registers = (leaf: number, subleaf: number): CpuidRegisters => {
    const [eax, ebx, ecx, edx] = cpuid.read(leaf, subleaf);
    return { eax, ebx, ecx, edx };
  };
  const files = filesOf(profile, registers);
  return {
    subject: `a model of ${profile.name}: ${profile.description}`,
    profile: profile.name,
    platform: 'linux',
    arch: 'x64',
    file: (path) => {
      const content = files[path];
      return content === undefined ? nothing(path) : found(content);
    },
    writable: nothing,
    kernelLog: () => nothing('kernel log'),
    cpuid: (leaf, subleaf) => found(registers(leaf, subleaf)),
    msr: (index) => {
      const value = profile.platform.msr[`0x${index.toString(16)}`];
      return value === undefined ? nothing(`MSR 0x${index.toString(16)}`) : found(BigInt(value));
    },
    addon: () => nothing('addon'),
    kvm: () => (system.closed ? missing('ENODEV', 'the model is closed') : found(system)),
    close: () => system.close(),
  };
}

function filesOf({ kernel, module }: Profile, cpuid: (leaf: number, subleaf: number) => CpuidRegisters) {
  const { ebx, edx, ecx } = cpuid(0, 0);
  const flags = Object.entries(FLAGS).filter(([, [leaf, register, bit]]) => (cpuid(leaf, 0)[register] >>> bit) & 1);
  const names = [...flags.map(([name]) => name), ...(kernel.tdx ? ['tdx_host_platform'] : [])];
  const range = (count: number) => (count > 1 ? `0-${count - 1}` : '0');
  const files: Record<string, string> = {
    '/proc/cpuinfo': `vendor_id : ${text(ebx, edx, ecx)}\nmodel name : processor 0x${cpuid(1, 0).eax.toString(16)}\nflags : ${names.join(' ')}\n`,
    '/proc/sys/kernel/osrelease': kernel.release,
    '/sys/devices/system/cpu/present': range(kernel.presentCpus),
    '/sys/devices/system/cpu/online': range(kernel.onlineCpus ?? kernel.presentCpus),
  };
  if (module.version !== undefined) files[MODULE_VERSION_FILE] = module.version;
  return files;
}
