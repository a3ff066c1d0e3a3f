import { FileView } from './bytes.js';
import { checkSections } from './check-sections.js';
import { ImageError } from './errors.js';
import { locateMetadata, type MetadataLocation, readSections } from './metadata.js';
import type { TdvfSection } from './sections.js';

/** The TDVF metadata of a firmware image. */
export interface TdvfImage extends MetadataLocation {
  /** The whole file; not copied. */
  bytes: Uint8Array;
  /** In the order of the metadata, which is the order in which QEMU adds their pages. */
  sections: readonly TdvfSection[];
}

/** Finds and reads the metadata without judging the sections. @throws ImageError where there are none to read. */
export function readTdvf(bytes: Uint8Array): TdvfImage {
  const file = new FileView(bytes);
  const location = locateMetadata(file);
  return { ...location, bytes, sections: readSections(file, location.descriptorOffset) };
}

/**
 * Reads a TDVF image and checks every section: type, attributes, sizes, alignment, data inside the file, no overlap, the
 * reset vector present. @throws ImageError for the first violation; {@link lintTdvf} tells all of them.
 */
export function parseTdvf(bytes: Uint8Array): TdvfImage {
  const image = readTdvf(bytes);
  const [first] = checkSections(image.sections, bytes.byteLength);
  if (first) throw new ImageError(first);
  return image;
}
