import { basename, dirname, resolve } from 'node:path';
import type { TdImage } from '../image/index.js';
import { readUserFile } from './files.js';

/**
 * Loads the image that the user named, or the bundled one.
 * @throws CliError (2) if it or a file it names cannot be read, ImageError for what is in it.
 */
export async function loadUserImage(path: string | undefined): Promise<TdImage> {
  const { bundledImage, loadImage } = await import('../image/index.js');
  if (path === undefined) return bundledImage();
  const bytes = readUserFile(path, 'image');
  const folder = path === '-' ? '.' : dirname(path);
  const readFile = (name: string) => readUserFile(resolve(folder, name), `file named by ${path}`);
  return loadImage(bytes, { name: path === '-' ? 'standard input' : basename(path), readFile });
}
