import { NativeCpuid } from '../cpuid/index.js';
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

/**
 * The platform of a profile. What the kernel of a captured host does not show (MSRs, what the firmware says) comes from
 * the nearest bundled platform, and `note` says so.
 */
export function completePlatform(
  field: Checked,
  origin: 'synthetic' | 'captured',
): { platform: Platform; note?: string } {
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
    const base = nearest(given);
    const missing = Object.keys(base.msr).filter((index) => given.msr?.[index] === undefined);
    const platform = parsePlatform({ ...given, msr: { ...base.msr, ...given.msr }, sys: given.sys ?? base.sys });
    const lacking = [missing.length > 0 && `MSRs ${missing.join(', ')}`, !given.sys && 'what the firmware says'];
    const what = lacking.filter(Boolean).join(' and ');
    return what ? { platform, note: `Not captured, taken from platform ${base.name}: ${what}.` } : { platform };
  } catch (error) {
    if (error instanceof TypeError) return field.fail(error.message.replace(/^platform /, ''));
    throw error;
  }
}
