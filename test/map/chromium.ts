import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** A Chromium on this machine. */
export const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--virtual-time-budget=3000',
];

/** The document as Chromium has it after the page's script ran. Throws what Chromium said where it has none. */
export function renderedDom(page: string, fragment = ''): string {
  const folder = mkdtempSync(join(tmpdir(), 'cpuid-map-'));
  try {
    const file = join(folder, 'map.html');
    writeFileSync(file, page);
    const flags = [...FLAGS, `--user-data-dir=${join(folder, 'profile')}`, '--dump-dom'];
    const { stdout, stderr, error } = spawnSync(CHROMIUM!, [...flags, pathToFileURL(file).href + fragment], {
      encoding: 'utf8',
      maxBuffer: 1 << 26,
      timeout: 45_000,
      killSignal: 'SIGKILL',
    });
    if (error || !stdout.includes('</html>')) throw new Error(`Chromium shows no page: ${error?.message ?? stderr}`);
    return stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

const plainText = (text: string): string =>
  text.replace(
    /&(amp|lt|gt|quot|nbsp);/g,
    (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"' })[name] ?? ' ',
  );

/** Text inside the element with this id, tags left out. */
export function textOf(dom: string, id: string, tag: string): string {
  const inside = new RegExp(`<${tag}[^>]* ?id="${id}"[^>]*>([\\s\\S]*?)</${tag}>`).exec(dom)?.[1] ?? '';
  return plainText(inside.replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ')).trim();
}

/** The cells that filters leave: their places. */
export const matchingCells = (dom: string): string[] =>
  [...dom.matchAll(/<div class="(cell [^"]*)"[^>]* data-bit="([^"]*)"/g)]
    .filter(([, classes]) => !classes!.split(' ').includes('off'))
    .map(([, , place]) => place!);
