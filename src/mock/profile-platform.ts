import { bundledVersions, loadRules, NativeCpuid } from '../cpuid/index.js';
import { decodeTdxStatus } from '../kvm/status.js';
import { bootModule } from './module/boot.js';
import type { Platform } from './platform.js';
import { bundledPlatforms, loadPlatform, parsePlatform } from './platforms.js';
import type { Checked } from './profile-values.js';

/** Family and model of CPUID(1).EAX, the stepping left out. */
const model = (platform: Pick<Platform, 'cpuid'>): number => new NativeCpuid(platform.cpuid).read(1, null)[0] >>> 4;

/** The bundled platform that a captured one resembles most: the same model, or else the first Sapphire Rapids. */
const nearest = (platform: Pick<Platform, 'cpuid'>): Platform => {
  const all = bundledPlatforms().map(loadPlatform);
  return all.find((other) => model(other) === model(platform)) ?? loadPlatform('spr');
};

let known: string[] | undefined;

/** The rules document for a module version: its own, or the newest where the version is unknown. */
export function rulesVersion(version: string | undefined): string {
  known ??= bundledVersions();
  return version !== undefined && known.includes(version) ? version : known.at(-1)!;
}

interface Completed {
  platform: Platform;
  /** What was not captured, for the profile's description. */
  note?: string;
}

/**
 * The platform of a profile. What the kernel of a captured host does not show (MSRs, what the firmware says) comes from
 * the nearest bundled platform, and `note` says so.
 */
export function completePlatform(field: Checked, origin: 'synthetic' | 'captured', version?: string): Completed {
  const { value } = field;
  if (typeof value === 'string') {
    if (!bundledPlatforms().includes(value)) field.fail(`one of ${bundledPlatforms().join(', ')}, or a platform`);
    return { platform: loadPlatform(value) };
  }
  field.object();
  const given = value as Partial<Platform> & Pick<Platform, 'name' | 'cpuid'>;
  try {
    if (origin === 'synthetic') return { platform: parsePlatform(given) };
    if (!Array.isArray(given.cpuid)) field.field('cpuid').fail('a list of rows');
    return startable(complete(given), rulesVersion(version));
  } catch (error) {
    if (error instanceof TypeError) return field.fail(error.message.replace(/^platform /, ''));
    throw error;
  }
}

function complete(given: Partial<Platform> & Pick<Platform, 'name' | 'cpuid'>): Completed {
  const base = nearest(given);
  const missing = Object.keys(base.msr).filter((index) => given.msr?.[index] === undefined);
  const platform = parsePlatform({ ...given, msr: { ...base.msr, ...given.msr }, sys: given.sys ?? base.sys });
  const lacking = [missing.length > 0 && `MSRs ${missing.join(', ')}`, !given.sys && 'what the firmware says'];
  const what = lacking.filter(Boolean).join(' and ');
  return what ? { platform, note: `Not captured, taken from platform ${base.name}: ${what}.` } : { platform };
}

/** A captured host's module did start; where the rules of the model's do not start on what was captured, another stands in. */
function startable({ platform, note }: Completed, version: string): Completed {
  const boot = bootModule(loadRules(version), platform);
  if (boot.ok) return note === undefined ? { platform } : { platform, note };
  const base = nearest(platform);
  const why = `${boot.call}: ${decodeTdxStatus(boot.status).text}`;
  return {
    platform: { ...base, name: platform.name },
    note: `TDX module ${version} of the model does not start on its CPUID (${why}); platform ${base.name} stands in for it.`,
  };
}
