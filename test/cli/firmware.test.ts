import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { smallFirmware } from '../platform/small-firmware.js';
import { tdxctl, temporaryFolder } from './tdxctl.js';

const file = temporaryFolder();
const sharesRbp = file('shares-rbp.fd', smallFirmware({ mask: 0xffec, text: 'Shell>' }));
const newer = file('newer.fd', smallFirmware({ mask: 0xffcc, text: 'UEFI Interactive Shell\n' }));
const launch = (image: string, ...more: string[]) =>
  tdxctl(['launch', '--backend', 'mock', '--engine', 'interpreter', '--image', image, ...more]);

describe('tdxctl launch of firmware', () => {
  it('tells each milestone when it is reached, and at the end all of them in order', () => {
    const { code, out, err } = launch(newer);
    expect({ code, err }).toMatchObject({ code: 0 });
    expect(out).toContain('\n\nUEFI Interactive Shell\n');
    for (const line of [
      /^firmware {2}A measurement is in an RTMR \(\d+\.\d s, 0 exits, \d TDCALLs; by TDG\.MR\.RTMR\.EXTEND of RTMR 1\)$/m,
      /^firmware {2}The TD HOB and the memory in it are accepted \(.*; by the first request to the host, 4 KiB accepted\)$/m,
      /^firmware {2}There is text on the serial console \(\d+\.\d s, \d+ exits?, \d+ TDCALLs; by the console\)$/m,
      /^ended {2}The guest ended with 0 through port 0xf4 /m,
    ])
      expect(err).toMatch(line);
    const summary = err.slice(err.indexOf('firmware milestones')).split('\n');
    expect(summary.map((line) => line.replace(/\d+\.\d s/, 'T').replace(/\d+ exits?, \d+ TDCALLs/, 'N'))).toEqual([
      'firmware milestones, in order:',
      expect.stringMatching(/^ {2}T, N +The TD HOB and the memory in it are accepted$/),
      expect.stringMatching(/^ {2}T, N +A measurement is in an RTMR$/),
      expect.stringMatching(/^ {2}passed over +PEI is done, the DXE core runs$/),
      expect.stringMatching(/^ {2}passed over +The DXE dispatcher runs drivers$/),
      expect.stringMatching(/^ {2}T, N +There is text on the serial console$/),
      expect.stringMatching(/^ {2}T, N +A boot manager or a UEFI shell is there$/),
      'last      A boot manager or a UEFI shell is there',
      'RTMRs     1 extend',
      '          RTMR 1 by the 48 bytes at 0xffff7000',
      'stopped   The guest ended with 0 through port 0xf4',
      '',
    ]);
  });

  it('that shares RBP says why its requests are refused, and what to do', () => {
    const { code, err } = launch(sharesRbp);
    expect(code).toBe(1);
    expect(err).toMatch(
      /^stopped {3}before "PEI is done, the DXE core runs"\. The TDX module refused its TDG\.VP\.VMCALL with register mask 0xffec, in which bit 5 is RBP/m,
    );
    expect(err).toMatch(/^ +This firmware shares RBP with its host, .* edk2-stable202405 or newer, or --profile /m);
  });

  it('that shares RBP runs on a host whose kernel does not forbid it', () => {
    const { code, out } = tdxctl([
      'launch',
      '--profile',
      'spr-1.5.06-rbp',
      '--engine',
      'interpreter',
      '--image',
      sharesRbp,
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/Shell>$/);
  });

  it('gives scripts the same', () => {
    const { code, err, json } = launch(sharesRbp, '--json');
    expect({ code, err }).toEqual({ code: 1, err: '' });
    expect(json()).toMatchObject({
      run: {
        how: 'triple-fault',
        firmware: {
          milestones: [
            { name: 'memory-accepted', reached: { atMs: expect.any(Number), exits: 0, tdcalls: expect.any(Number) } },
            { name: 'rtmr-extended', reached: { by: 'TDG.MR.RTMR.EXTEND of RTMR 1' } },
            { name: 'pei-done', what: 'PEI is done, the DXE core runs' },
            { name: 'dxe-dispatched' },
            { name: 'serial-text' },
            { name: 'boot-manager' },
          ],
          last: 'rtmr-extended',
          next: 'pei-done',
          stoppedBy: {
            message: expect.stringContaining('0xffec'),
            advice: expect.stringContaining('edk2-stable202405'),
          },
          rtmrExtends: [{ index: 1, gpa: '0xffff7000' }],
        },
      },
    });
  });

  it('a payload that is no firmware has no milestones', () => {
    const { code, err } = launch(new URL('../../images/minimal.bin', import.meta.url).pathname);
    expect(code).toBe(0);
    expect(err).not.toContain('firmware');
  });

  it.skipIf(!existsSync('/usr/share/ovmf/OVMF.fd'))('knows the firmware of distributions for firmware', () => {
    const { err } = launch('/usr/share/ovmf/OVMF.fd', '--timeout', '0.1');
    expect(err).toMatch(
      /^stopped {3}before "The TD HOB and the memory in it are accepted"\. It was still on its way: /m,
    );
  });
});
