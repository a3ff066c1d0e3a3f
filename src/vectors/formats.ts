import type { VectorRunner } from './types.js';

/** One format of test/vectors/README.md. */
export interface Format {
  name: string;
  /** Tells the format by the keys of a case. */
  matches(testCase: Record<string, unknown>): boolean;
  /** The module underneath where the file's name gives no version. */
  moduleVersion: string;
  load(): Promise<VectorRunner>;
}

const hasSteps = (testCase: Record<string, unknown>, key: 'call' | 'op'): boolean => {
  const steps = testCase['steps'];
  return Array.isArray(steps) && (steps[0] as Record<string, unknown> | undefined)?.[key] !== undefined;
};

const formats: readonly Format[] = [
  {
    name: 'ioctl',
    matches: (c) => 'cmd' in c || 'init' in c || hasSteps(c, 'op'),
    moduleVersion: '1.5.05',
    load: async () => (await import('./ioctl.js')).runIoctl,
  },
  {
    name: 'lifecycle',
    matches: (c) => hasSteps(c, 'call'),
    moduleVersion: '1.5.06',
    load: async () => (await import('./lifecycle.js')).runLifecycle,
  },
  {
    name: 'mrtd',
    matches: (c) => 'pages' in c || 'ops' in c,
    moduleVersion: '1.5.06',
    load: async () => (await import('./mrtd-both.js')).runMrtd,
  },
  {
    name: 'guest_cpuid',
    matches: (c) => 'td_params' in c && 'cr4' in c,
    moduleVersion: '1.5.06',
    load: async () => (await import('./guest-cpuid.js')).runGuestCpuid,
  },
  {
    name: 'tdparams',
    matches: (c) => 'td_params' in c && !('cr4' in c),
    moduleVersion: '1.5.06',
    load: async () => (await import('./tdparams.js')).runTdParams,
  },
];

/** The format of a file by its first case. @throws Error that lists the formats. */
export function formatOf(testCase: unknown, name: string): Format {
  const format = formats.find((candidate) => candidate.matches((testCase ?? {}) as Record<string, unknown>));
  if (!format) {
    throw new Error(
      `${name}: its first case is of no known format (expected one of ${formats.map((f) => f.name).join(', ')})`,
    );
  }
  return format;
}
