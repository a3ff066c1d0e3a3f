import { KVM_CAP, KVM_X86_TDX_VM } from '../kvm/constants.js';
import type { CpuidEntry } from '../kvm/cpuid.js';
import type { KvmSystem } from '../kvm/system.js';
import type { PlatformCpuidRow } from '../mock/platform.js';
import type { CpuidEntryDocument, ProfileDocument } from '../mock/profiles.js';
import { gatherHostFacts, type TdHostFacts } from '../td/host-facts.js';
import { KVM_CGROUP_CAPACITY } from './checks/kvm.js';
import { readModuleVersion } from './module-version.js';
import { readCpuidRows } from './native-cpuid.js';
import type { HostReaders } from './readers.js';

/** A host of which no profile can be made, and why. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
}

/** KVM_CAP numbers that are asked for: all that Linux has had, with room for those to come. */
const LAST_CAPABILITY = 300;

/** Registers that decide what a TD sees (TDH.SYS.INIT reads them); the others say where firmware put its memory and keys. */
const CAPTURED_MSRS = [0xbc, 0xbd, 0xcf, 0x10a, 0x122, 0x345, 0x48c];

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** Members of a list such as `0-3,8`. */
const countCpus = (list: string): number =>
  list.split(',').reduce((sum, range) => {
    const [first, last = first] = range.split('-').map(Number);
    return sum + (last! - first! + 1);
  }, 0);

export interface CaptureOptions {
  /** Name of the profile, default `captured`. */
  name?: string;
}

/**
 * Makes the profile of a host, as far as its kernel shows it; the model takes it (`openKvm({ profile })`).
 * @throws CaptureError where KVM offers no TDs or CPUID cannot be read.
 */
export function captureProfile(
  system: KvmSystem,
  readers: HostReaders,
  { name = 'captured' }: CaptureOptions = {},
): ProfileDocument {
  const vmTypes = system.checkExtension(KVM_CAP.VM_TYPES);
  if (!((vmTypes >> KVM_X86_TDX_VM) & 1)) {
    const seen = `KVM_CAP_VM_TYPES is ${hex(vmTypes)}, bit 5 is clear`;
    throw new CaptureError(
      `nothing to capture: KVM of ${readers.subject} offers no TDs (${seen}); tdxctl host says why`,
    );
  }
  const facts = gatherHostFacts(system);
  const text = (path: string) => {
    const reading = readers.file(path);
    return reading.ok ? reading.value : undefined;
  };
  const cpus = (path: string) => {
    const list = text(path);
    return list === undefined ? undefined : countCpus(list);
  };
  const release = text('/proc/sys/kernel/osrelease') ?? 'unknown';
  const onlineCpus = cpus('/sys/devices/system/cpu/online');
  const keyIds = /^tdx (\d+)$/m.exec(text(KVM_CGROUP_CAPACITY) ?? '')?.[1];
  const version = readModuleVersion(readers);
  return {
    schema: 1,
    name,
    description: `Captured: Linux ${release}, TDX module ${version ?? 'of unknown version'}.`,
    origin: 'captured',
    kernel: {
      release,
      presentCpus: cpus('/sys/devices/system/cpu/present') ?? facts.maxVcpus,
      ...(onlineCpus !== undefined && { onlineCpus }),
      tscKhz: facts.tscKhz,
      vmTypes: vmTypes & ~(1 << KVM_X86_TDX_VM),
      tdx: true,
      ...(facts.maxVcpusSettable && { maxVcpusSettable: true }),
      ...(keyIds !== undefined && { keyIds: Number(keyIds) }),
      checkExtension: captureExtensions(system),
    },
    module: version === undefined ? {} : { version },
    platform: { name, cpuid: captureCpuid(readers), msr: captureMsrs(readers) },
    capabilities: captureCapabilities(facts),
    supportedCpuid: facts.supportedCpuid.map(entryDocument),
  };
}

function captureExtensions(system: KvmSystem): Record<string, number> {
  const values: Record<string, number> = {};
  for (let capability = 0; capability <= LAST_CAPABILITY; capability++) {
    const value = system.checkExtension(capability);
    if (value !== 0) values[capability] = value;
  }
  return values;
}

function captureCpuid(readers: HostReaders): PlatformCpuidRow[] {
  try {
    return readCpuidRows(readers).map(({ leaf, subleaf, eax, ebx, ecx, edx }) => ({
      leaf: hex(leaf),
      subleaf,
      eax: hex(eax),
      ebx: hex(ebx),
      ecx: hex(ecx),
      edx: hex(edx),
    }));
  } catch (error) {
    throw new CaptureError((error as Error).message, { cause: error });
  }
}

function captureMsrs(readers: HostReaders): Record<string, string> {
  const readings = CAPTURED_MSRS.map((index) => [index, readers.msr(index)] as const);
  return Object.fromEntries(
    readings.flatMap(([index, reading]) => (reading.ok ? [[hex(index), hex(reading.value)]] : [])),
  );
}

const entryDocument = ({ function: leaf, index, flags, eax, ebx, ecx, edx }: CpuidEntry): CpuidEntryDocument => ({
  function: hex(leaf),
  index,
  flags,
  eax: hex(eax),
  ebx: hex(ebx),
  ecx: hex(ecx),
  edx: hex(edx),
});

const captureCapabilities = ({ capabilities: caps }: TdHostFacts): NonNullable<ProfileDocument['capabilities']> => ({
  supportedAttrs: hex(caps.supportedAttrs),
  supportedXfam: hex(caps.supportedXfam),
  kernelTdvmcallinfo1R11: hex(caps.kernelTdvmcallinfo1R11),
  userTdvmcallinfo1R11: hex(caps.userTdvmcallinfo1R11),
  kernelTdvmcallinfo1R12: hex(caps.kernelTdvmcallinfo1R12),
  userTdvmcallinfo1R12: hex(caps.userTdvmcallinfo1R12),
  cpuid: caps.cpuid.map(entryDocument),
});
