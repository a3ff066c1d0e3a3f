import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { CpuidHost, RulesSource } from '../cpuid/questions/index.js';
import type { KvmSystem } from '../kvm/system.js';
import { usageError } from './errors.js';
import { readUserJson } from './files.js';
import { asksForModel, type CommonOptions, openSystem } from './options.js';

export interface CpuidOptions extends CommonOptions {
  module?: string;
}

/** Rules by version, or of a rules document in a file. @throws CliError (2) for what is neither. */
async function userRules(module: string): Promise<RulesSource> {
  const { bundledVersions } = await import('../cpuid/index.js');
  if (bundledVersions().includes(module)) return module;
  if (existsSync(module)) return readUserJson(module, 'rules document') as RulesSource;
  throw usageError(
    `there are no rules for TDX module '${module}'`,
    `There are rules for ${bundledVersions().join(', ')}; a file with a rules document does as well.`,
  );
}

/** The host of a profile, with another module if one is named; what its kernel says comes from the model. */
export async function profileCpuidHost(name: string, module?: string): Promise<CpuidHost> {
  const { loadProfile, openMock } = await import('../mock/index.js');
  const { cpuidHostOf, findRules } = await import('../cpuid/questions/index.js');
  const { KvmError } = await import('../kvm/index.js');
  const loaded = loadProfile(name);
  const source = module === undefined ? loaded.module.version : await userRules(module);
  const rules = findRules(source);
  const { capabilities: _, ...bare } = loaded;
  const other = typeof source === 'string' ? { ...bare, module: { version: source } } : bare;
  const profile = module === undefined ? loaded : other;
  using system = openMock({ profile });
  try {
    return cpuidHostOf(system, { name: loaded.name, module: source });
  } catch (error) {
    // A module that KVM takes no TDs of can still be asked itself.
    if (!(error instanceof KvmError)) throw error;
    return { name: loaded.name, ...(rules && { rules }), platform: loaded.platform };
  }
}

/** Hosts by profile name or file; of a folder, every profile in it. @throws CliError (2) for a folder without any. */
export async function profileCpuidHosts(names: readonly string[], module?: string): Promise<CpuidHost[]> {
  const { listProfiles } = await import('../mock/index.js');
  const known = new Set(listProfiles());
  const files = names.flatMap((name) => {
    if (known.has(name) || !existsSync(name) || !statSync(name).isDirectory()) return [name];
    const inside = readdirSync(name).filter((file) => file.endsWith('.json'));
    if (inside.length === 0) throw usageError(`there are no profiles (*.json) in the folder '${name}'`);
    return inside.sort().map((file) => join(name, file));
  });
  const hosts: CpuidHost[] = [];
  for (const file of files) hosts.push(await profileCpuidHost(file, module));
  return hosts;
}

/** This machine: CPUID as it is native here, and the module that its kernel names. */
async function machineHost(system: KvmSystem, module: string | undefined): Promise<CpuidHost> {
  const { cpuidHostOf } = await import('../cpuid/questions/index.js');
  const { thisMachine } = await import('../host/index.js');
  const { readCpuidRows } = await import('../host/native-cpuid.js');
  const { readModuleVersion } = await import('../host/module-version.js');
  const readers = thisMachine();
  try {
    const source = module === undefined ? readModuleVersion(readers) : await userRules(module);
    const asked = readers.cpuid(0, 0);
    const platform = asked.ok ? { cpuid: readCpuidRows(readers) } : undefined;
    return cpuidHostOf(system, { name: 'this host', module: source, platform });
  } finally {
    readers.close();
  }
}

/** What a question about CPUID is asked of: `--profile`, the module of `--module` alone, or what runs here. */
export async function openCpuidHost(options: CpuidOptions): Promise<CpuidHost> {
  const { module, profile } = options;
  if (profile !== undefined && asksForModel(options)) return profileCpuidHost(profile, module);
  if (module !== undefined && options.backend === 'auto') {
    const { findRules } = await import('../cpuid/questions/index.js');
    const rules = findRules(await userRules(module))!;
    return { name: `module ${rules.module}`, rules };
  }
  using system = await openSystem(options);
  if (system.backend === 'native') return machineHost(system, module);
  const { mockHostOf } = await import('../mock/index.js');
  return profileCpuidHost(mockHostOf(system)!.profile.name, module);
}
