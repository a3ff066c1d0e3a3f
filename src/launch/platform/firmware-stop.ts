// What keeps a firmware from its next milestone, and what to do about it.
import type { TdImage } from '../../image/index.js';
import type { TdOutcome } from '../run/outcome.js';
import type { Milestone, MilestoneName, Milestones } from './milestones.js';

export interface FirmwareStop {
  /** The milestone that was not reached; left out where all are. */
  next?: Milestone;
  /** What stopped it, or probably did; a sentence without its full stop. */
  why: string;
  advice?: string;
}

/** Bit of RBP in the mask of registers that TDG.VP.VMCALL shares. */
const RBP = 1n << 5n;

const SHARES_RBP =
  'This firmware shares RBP with its host, which KVM forbids since Linux 6.16 (CONFIG_FLAGS.NO_RBP_MOD): use edk2-stable202405 or newer, ' +
  'or --profile spr-1.5.06-rbp to see it run on the model';
const OTHER_MASK = 'TDG.VP.VMCALL shares no RAX, RCX or RSP: correct the mask in RCX';

/** What takes a firmware long before it gets there. */
const ON_THE_WAY: Readonly<Record<MilestoneName, string>> = {
  'memory-accepted':
    'It accepts its memory page by page before it asks anything of its host; less memory takes less time',
  'rtmr-extended': 'Give it more time (--timeout)',
  'pei-done':
    'SEC unpacks the firmware (LZMA) before PEI: some 600 million instructions, minutes where software executes them. Give it more time (--timeout)',
  'dxe-dispatched': 'Give it more time (--timeout)',
  'serial-text': 'Release builds print nothing before the boot manager has a console: give it more time (--timeout)',
  'boot-manager': 'It looks at all devices first: give it more time (--timeout)',
};

/** Says what stopped a firmware, by what was seen of it and how its run ended. */
export function explainFirmwareStop(
  milestones: Pick<Milestones, 'next' | 'refusedMask'>,
  outcome: Pick<TdOutcome, 'how' | 'message' | 'advice'>,
): FirmwareStop {
  const { next, refusedMask } = milestones;
  const stop = next ? { next } : {};
  if (refusedMask !== undefined) {
    const mask = `0x${refusedMask.toString(16)}`;
    const rbp = (refusedMask & RBP) !== 0n;
    return {
      ...stop,
      why: `The TDX module refused its TDG.VP.VMCALL with register mask ${mask}${rbp ? ', in which bit 5 is RBP' : ''} (module.vmcall.mask); what it did afterwards follows from that`,
      advice: rbp ? SHARES_RBP : OTHER_MASK,
    };
  }
  const { how, message, advice } = outcome;
  if (next && (how === 'timeout' || how === 'aborted')) {
    return { next, why: `It was still on its way: ${message}`, advice: ON_THE_WAY[next.name] };
  }
  return { ...stop, why: message, ...(advice !== undefined && { advice }) };
}

/** EFI_FIRMWARE_VOLUME_HEADER.Signature (UEFI PI specification, volume 3). */
const FIRMWARE_VOLUME = [...'_FVH'].map((letter) => letter.charCodeAt(0));
const SIGNATURE_OFFSET = 40;

/** Whether an image is made of UEFI firmware volumes, and not a payload in TDVF's clothes. */
export const isUefiFirmware = ({ kind, regions }: TdImage): boolean =>
  kind === 'tdvf' &&
  regions.some(({ data }) => FIRMWARE_VOLUME.every((byte, i) => data[SIGNATURE_OFFSET + i] === byte));
