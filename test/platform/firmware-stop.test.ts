import { describe, expect, it } from 'vitest';
import { bundledImage, loadImage } from '../../src/image/index.js';
import { explainFirmwareStop, isUefiFirmware, Milestones } from '../../src/launch/platform/index.js';
import { smallFirmware } from './small-firmware.js';

const LEAF_VMCALL = 0;
const vmcall = (rcx: bigint, rule?: string) => {
  const before = new BigUint64Array(16);
  before[1] = rcx;
  return { kind: 'tdcall', leaf: LEAF_VMCALL, before, ...(rule !== undefined && { rule }) };
};
const accept = { kind: 'tdcall', leaf: 6, before: new BigUint64Array(16), after: new BigUint64Array(16) };
const wild = { how: 'memory-fault', message: 'It ran into nothing', advice: 'Look for a wild pointer' } as const;
const late = { how: 'timeout', message: 'The guest was still running after 10 s' } as const;

describe('what stopped a firmware', () => {
  it.each([
    ['0xffec', 0xffecn, /shares RBP .*Linux 6\.16 .*edk2-stable202405 or newer, or --profile spr-1\.5\.06-rbp/],
    ['0x20', 0x20n, /shares RBP/],
    ['0xfc01', 0xfc01n, /shares no RAX, RCX or RSP/],
  ])('a refused register mask %s comes before what the guest did then', (text, mask, advice) => {
    const milestones = new Milestones();
    for (const event of [
      accept,
      vmcall(mask, 'module.vmcall.mask'),
      vmcall(0xfc00n),
      vmcall(1n, 'module.vmcall.mask'),
    ]) {
      milestones.guest(event);
    }
    const stop = explainFirmwareStop(milestones, wild);
    expect(stop).toMatchObject({ next: { name: 'pei-done' }, advice: expect.stringMatching(advice) });
    expect(stop.why).toContain(`register mask ${text}`);
  });

  it('a mask with RBP that is not refused is none of its reasons: not every kernel forbids it', () => {
    const milestones = new Milestones();
    milestones.guest(vmcall(0xffecn));
    expect(explainFirmwareStop(milestones, wild)).toMatchObject({ why: wild.message, advice: wild.advice });
  });

  it.each([
    ['at its memory', [], 'memory-accepted', /page by page/],
    ['in SEC', [accept, vmcall(0xfc00n)], 'pei-done', /LZMA/],
  ])('a run that was ended %s says what takes long there', (_, events, next, advice) => {
    const milestones = new Milestones();
    for (const event of events) milestones.guest(event);
    expect(explainFirmwareStop(milestones, late)).toMatchObject({
      next: { name: next },
      why: expect.stringContaining(late.message),
      advice: expect.stringMatching(advice),
    });
  });

  it('nothing is next behind the boot manager', () => {
    const milestones = new Milestones();
    milestones.text('UEFI Interactive Shell v2.2');
    expect(explainFirmwareStop(milestones, late)).toEqual({ why: late.message });
  });
});

describe('firmware', () => {
  it('is what has a firmware volume', () => {
    expect(isUefiFirmware(loadImage(smallFirmware({ mask: 0xfc00, text: '' })))).toBe(true);
    expect(isUefiFirmware(bundledImage())).toBe(false);
    expect(isUefiFirmware(loadImage(Buffer.from('{"pages": [{"gpa": "0x1000", "hex": "f4"}]}')))).toBe(false);
  });
});
