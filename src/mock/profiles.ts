import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { CpuidEntry } from '../kvm/cpuid.js';
import type { TdxCapabilities } from '../kvm/vm.js';
import { type Fault, FaultError, Faults } from './faults.js';
import type { Platform } from './platform.js';
import { completePlatform } from './profile-platform.js';
import { Checked, ProfileError } from './profile-values.js';

export { ProfileError };

/** A host that can be modelled, ready for use. Made by {@link loadProfile} of a {@link ProfileDocument}. */
export interface Profile {
  name: string;
  description: string;
  origin: 'synthetic' | 'captured';
  kernel: ProfileKernel;
  module: { version?: string };
  platform: Platform;
  /** What KVM_TDX_CAPABILITIES of a captured host gave: wins over what the module's rules would give. */
  capabilities?: TdxCapabilities;
  /** What KVM_GET_SUPPORTED_CPUID of a captured host gave. */
  supportedCpuid?: CpuidEntry[];
  faults?: readonly Fault[];
}

/** The kernel of a profile: what Linux found and how it is configured. */
export interface ProfileKernel {
  /** `uname -r`, or what it resembles. */
  release: string;
  /** num_present_cpus(): the most vCPUs a TD may have on Linux 6.16. */
  presentCpus: number;
  /** Default: all. */
  onlineCpus?: number;
  /** Host TSC frequency, kHz. */
  tscKhz: number;
  /** KVM_CAP_VM_TYPES without the bit for TDs, which the model adds where TDX works. */
  vmTypes: number;
  /** kvm_intel.tdx. */
  tdx: boolean;
  /** The kernel lets a VM set KVM_CAP_MAX_VCPUS (the per-VM proposal). */
  maxVcpusSettable?: boolean;
  /** KVM does not set NO_RBP_MOD for its TDs, unlike Linux 6.16 (older ones, out of tree): they may share RBP in VMCALLs. */
  rbpShareable?: boolean;
  /** Private KeyIDs that are free for TDs; default: all that the platform's MSRs give. */
  keyIds?: number;
  /** "tdx" of misc.max; default: no limit. */
  miscCgroupLimit?: number;
  /** Packages without an online CPU. */
  offlinePackages?: number;
  /** KVM_CHECK_EXTENSION on `/dev/kvm` by capability number, of a captured host; those left out were 0. */
  checkExtension?: Readonly<Record<number, number>>;
}

/**
 * A profile as JSON (profiles/*.json, `tdxctl capture`). u64 are hexadecimal strings; CPUID entries are
 * `{ function, index, flags, eax, ebx, ecx, edx }` with numbers or hexadecimal strings. `platform` is the name of a
 * bundled platform (profiles/platforms) or a platform itself; of a captured host it may lack MSRs and what the firmware
 * says, which are then taken from the bundled platform that resembles it most, and the description says so.
 */
export interface ProfileDocument {
  /** Version of this format. */
  schema: 1;
  name: string;
  description: string;
  origin: 'synthetic' | 'captured';
  kernel: Omit<ProfileKernel, 'checkExtension'> & { checkExtension?: Record<string, number> };
  /** Without a version, or with one that has no rules document, the newest rules are used. */
  module: { version?: string };
  platform: string | (Pick<Platform, 'name' | 'cpuid'> & Partial<Platform>);
  capabilities?: {
    supportedAttrs: string;
    supportedXfam: string;
    kernelTdvmcallinfo1R11?: string;
    userTdvmcallinfo1R11?: string;
    kernelTdvmcallinfo1R12?: string;
    userTdvmcallinfo1R12?: string;
    cpuid: readonly CpuidEntryDocument[];
  };
  supportedCpuid?: readonly CpuidEntryDocument[];
  faults?: readonly Fault[];
}

export type CpuidEntryDocument = { readonly [Field in keyof CpuidEntry]: number | string };

/** The profile that `openMock()` models without being told. */
export const DEFAULT_PROFILE = 'spr-1.5.06';

const FOLDER = new URL('../../profiles/', import.meta.url);
const loaded = new Map<string, Profile>();

/** Names of the bundled profiles. */
export const listProfiles = (): string[] =>
  readdirSync(FOLDER)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -'.json'.length))
    .sort();

/**
 * A profile by its bundled name, by the path of a file, or from a document.
 * @throws ProfileError that says which file, where in it, and what was expected.
 */
export function loadProfile(source: string | ProfileDocument): Profile {
  if (typeof source !== 'string') return parseProfile(source, `profile '${source?.name}'`);
  let profile = loaded.get(source);
  if (profile) return profile;
  const known = listProfiles();
  if (known.includes(source)) {
    const file = new URL(`${source}.json`, FOLDER);
    profile = parseProfile(readJson(file, fileURLToPath(file), known), fileURLToPath(file));
    loaded.set(source, profile);
    return profile;
  }
  return parseProfile(readJson(source, source, known), source);
}

function readJson(file: string | URL, where: string, known: readonly string[]): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new ProfileError(`no profile '${where}' (${why}), expected a file or one of ${known.join(', ')}`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ProfileError(`${where} is not JSON: ${(error as Error).message}`);
  }
}

function parseProfile(document: unknown, where: string): Profile {
  const root = new Checked(document, where, '');
  if (root.field('schema').value !== 1) root.field('schema').fail('1, the version of the format');
  const origin = root.field('origin').oneOf(['synthetic', 'captured'] as const);
  const version = root.field('module').object().optional('version')?.text();
  const platform = completePlatform(root.field('platform'), origin, version);
  const profile: Profile = {
    name: root.field('name').text(),
    description: [root.field('description').text(), platform.note].filter(Boolean).join(' '),
    origin,
    kernel: parseKernel(root.field('kernel').object()),
    module: version === undefined ? {} : { version },
    platform: platform.platform,
  };
  const capabilities = root.optional('capabilities');
  if (capabilities) profile.capabilities = parseCapabilities(capabilities.object());
  const supported = root.optional('supportedCpuid');
  if (supported) profile.supportedCpuid = supported.list().map(parseEntry);
  const faults = root.optional('faults');
  if (faults) profile.faults = parseFaults(faults, `${where}: faults`);
  return profile;
}

function parseFaults(list: Checked, where: string): Fault[] {
  const faults = list.list().map((fault) => fault.object().value as unknown as Fault);
  try {
    new Faults(faults, where);
    return faults;
  } catch (error) {
    throw error instanceof FaultError ? new ProfileError(error.message) : error;
  }
}

function parseKernel(kernel: Checked): ProfileKernel {
  const parsed: ProfileKernel = {
    release: kernel.field('release').text(),
    presentCpus: kernel.field('presentCpus').whole(1, 8192),
    tscKhz: kernel.field('tscKhz').whole(1, 0x7fff_fffe),
    vmTypes: kernel.field('vmTypes').whole(0, 0xffff_ffff),
    tdx: kernel.field('tdx').flag(),
  };
  const numbers = ['onlineCpus', 'keyIds', 'miscCgroupLimit', 'offlinePackages'] as const;
  for (const name of numbers) {
    const value = kernel.optional(name);
    if (value) parsed[name] = value.whole(0, 0x7fff_ffff);
  }
  const settable = kernel.optional('maxVcpusSettable');
  if (settable) parsed.maxVcpusSettable = settable.flag();
  const shareable = kernel.optional('rbpShareable');
  if (shareable) parsed.rbpShareable = shareable.flag();
  const extensions = kernel.optional('checkExtension');
  if (extensions)
    parsed.checkExtension = Object.fromEntries(
      extensions.entries().map(([capability, value]) => [Number(capability), value.whole(0, 0x7fff_ffff)]),
    );
  return parsed;
}

const parseCapabilities = (caps: Checked): TdxCapabilities => ({
  supportedAttrs: caps.field('supportedAttrs').u64(),
  supportedXfam: caps.field('supportedXfam').u64(),
  kernelTdvmcallinfo1R11: caps.optional('kernelTdvmcallinfo1R11')?.u64() ?? 0n,
  userTdvmcallinfo1R11: caps.optional('userTdvmcallinfo1R11')?.u64() ?? 0n,
  kernelTdvmcallinfo1R12: caps.optional('kernelTdvmcallinfo1R12')?.u64() ?? 0n,
  userTdvmcallinfo1R12: caps.optional('userTdvmcallinfo1R12')?.u64() ?? 0n,
  cpuid: caps.field('cpuid').list().map(parseEntry),
});

const parseEntry = (entry: Checked): CpuidEntry => ({
  function: entry.field('function').u32(),
  index: entry.field('index').u32(),
  flags: entry.optional('flags')?.u32() ?? 0,
  eax: entry.field('eax').u32(),
  ebx: entry.field('ebx').u32(),
  ecx: entry.field('ecx').u32(),
  edx: entry.field('edx').u32(),
});
