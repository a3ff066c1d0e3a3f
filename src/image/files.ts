import { readFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { loadImage, type TdImage } from './td-image.js';

/**
 * Reads an image from a file: TDVF firmware, or a page list, whose `file` entries are relative to it.
 * @throws ImageError for what is in it, Node's own error if it cannot be read.
 */
export function loadImageFile(path: string): TdImage {
  const readFile = (name: string) => readFileSync(resolve(dirname(path), name));
  return loadImage(readFileSync(path), { name: basename(path), readFile });
}

/** The images that come with this package, built from images/NAME.S. */
export const BUNDLED_IMAGES = ['minimal', 'fatal', 'triple-fault'] as const;
export type BundledImage = (typeof BUNDLED_IMAGES)[number];

/**
 * Reads an image that comes with this package: `minimal` does once each what a TD can do and ends well, `fatal` ends in
 * TDG.VP.VMCALL<ReportFatalError>, `triple-fault` in one.
 */
export function bundledImage(name: BundledImage = 'minimal'): TdImage {
  return loadImage(readFileSync(new URL(`../../images/${name}.bin`, import.meta.url)), { name });
}
