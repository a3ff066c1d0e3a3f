export const preloadLibrary: string;
export const preloadSources: string[];
export function buildPreload(compiler: string, library?: string, extra?: readonly string[]): string | undefined;
