import { checkSections } from './check-sections.js';
import { checkCloudHypervisor, checkQemu, checkTdShim } from './check-vmm.js';
import { ImageError } from './errors.js';
import type { ImageFinding } from './findings.js';
import { readTdvf, type TdvfImage } from './tdvf.js';

export type VmmName = 'qemu' | 'cloud-hypervisor' | 'td-shim';

export interface VmmVerdict {
  /** Whether it would load the image, as far as its published source says. */
  accepts: boolean;
  /** The rules that say no. */
  rules: string[];
}

export interface TdvfLint {
  /** Absent where the metadata cannot be read at all. */
  image?: TdvfImage;
  /** All findings: errors first. */
  findings: ImageFinding[];
  verdicts: Record<VmmName, VmmVerdict>;
}

/** Every finding about an image, and who would load it. Never throws for what is in the file. */
export function lintTdvf(bytes: Uint8Array): TdvfLint {
  let image: TdvfImage;
  try {
    image = readTdvf(bytes);
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    const { rule, offset = 0, found = '', expected = '', fix, message } = error;
    const finding: ImageFinding = { rule, severity: 'error', what: message, offset, found, expected, fix };
    const no: VmmVerdict = { accepts: false, rules: [rule] };
    return { findings: [finding], verdicts: { qemu: no, 'cloud-hypervisor': no, 'td-shim': no } };
  }
  const errors = checkSections(image.sections, bytes.byteLength);
  const perVmm: Record<VmmName, ImageFinding[]> = {
    qemu: [...checkQemu(image)],
    'cloud-hypervisor': [...checkCloudHypervisor(image)],
    'td-shim': [...checkTdShim(image)],
  };
  const verdict = (vmm: VmmName): VmmVerdict => {
    const rules = [...new Set([...errors, ...perVmm[vmm]].map((finding) => finding.rule))];
    return { accepts: rules.length === 0, rules };
  };
  return {
    image,
    findings: [...errors, ...Object.values(perVmm).flat()],
    verdicts: { qemu: verdict('qemu'), 'cloud-hypervisor': verdict('cloud-hypervisor'), 'td-shim': verdict('td-shim') },
  };
}
