/** CPUID(0xD, n): where XSAVE keeps component n, from 2 on. */
export interface XsaveComponent {
  size: number;
  /** Offset in the standard format; 0 for components that only the compacted format has. */
  offset: number;
  /** ECX[1]: starts at a multiple of 64 in the compacted format. */
  align: boolean;
}

/** The legacy region and the header: 512 + 64 bytes. */
const EXTENDED_REGION = 576;

/** Bytes of an XSAVE area in the standard format with the components of `mask` (XCR0): CPUID(0xD, 0).EBX. */
export function xsaveStandard(components: readonly XsaveComponent[], mask: number): number {
  let size = EXTENDED_REGION;
  for (let i = 2; i < components.length; i++) {
    if ((mask >>> i) & 1) size = Math.max(size, components[i]!.offset + components[i]!.size);
  }
  return size >>> 0;
}

/** Bytes of an XSAVE area in the compacted format with the components of `mask` (XCR0 | IA32_XSS). */
export function xsaveCompacted(components: readonly XsaveComponent[], mask: number): number {
  let offset = EXTENDED_REGION;
  for (let i = 2; i < components.length; i++) {
    if (!((mask >>> i) & 1)) continue;
    if (components[i]!.align) offset = Math.ceil(offset / 64) * 64;
    offset += components[i]!.size;
  }
  return offset >>> 0;
}
