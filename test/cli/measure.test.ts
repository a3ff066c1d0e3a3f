import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { bundledImage } from '../../src/image/index.js';
import { measureTd } from '../../src/measure/index.js';
import { tdxctl, temporaryFolder } from './tdxctl.js';

const file = temporaryFolder();
const expected = (order: 'one-pass' | 'two-pass') => measureTd(bundledImage(), { order }).mrtd;

describe('tdxctl measure', () => {
  it('shows what is measured, and the MRTD in both orders', () => {
    expect(tdxctl(['measure'])).toMatchObject({
      code: 0,
      err: '',
      out: `minimal: TDVF firmware
  section 0 (BFV)      0xffff0000         64 KiB  address and content measured
  section 1 (TempMem)  0x10000            16 KiB  address measured
  section 2 (TD_HOB)   0x9000              4 KiB  address measured
21 pages added, the content of 64 KiB measured

MRTD, Linux 6.16 and newer   ${expected('one-pass')}
MRTD, kernels before         ${expected('two-pass')}
`,
    });
  });

  it('gives scripts mrtd and mrtdTwoPass', () => {
    expect(tdxctl(['measure', '--json']).json()).toEqual({
      image: { name: 'minimal', kind: 'tdvf' },
      mrtd: expected('one-pass'),
      mrtdTwoPass: expected('two-pass'),
      pages: 21,
      measuredBytes: 65536,
      regions: [
        { name: 'section 0 (BFV)', gpa: '0xffff0000', size: 65536, measured: true, added: true },
        { name: 'section 1 (TempMem)', gpa: '0x10000', size: 16384, measured: false, added: true },
        { name: 'section 2 (TD_HOB)', gpa: '0x9000', size: 4096, measured: false, added: true },
      ],
    });
  });

  it('reads the image from a file, from standard input, and from a page list that names files', () => {
    const list = { name: 'list', pages: [{ gpa: '0x1000', file: 'code.bin' }] };
    file('code.bin', new Uint8Array([0xf4]));
    const path = file('list.json', JSON.stringify(list));
    const inline = JSON.stringify({ name: 'list', pages: [{ gpa: '0x1000', hex: 'f4' }] });
    const fromFile = tdxctl(['measure', path, '--json']).json();
    const fromInput = tdxctl(['measure', '-', '--json'], { input: inline }).json();
    expect(fromFile).toMatchObject({ image: { name: 'list.json', kind: 'pages' }, pages: 1, measuredBytes: 4096 });
    expect(fromInput['mrtd']).toBe(fromFile['mrtd']);
  });

  it.each(['one-pass', 'two-pass'] as const)('--log has the steps of the %s order', (order) => {
    const { steps } = tdxctl(['measure', '--log', '--order', order, '--json']).json() as {
      steps: { call: string; gpa: string }[];
    };
    const first = steps.slice(0, 3).map(({ call, gpa }) => `${call} ${gpa}`);
    expect(steps).toHaveLength(21 + 16 * 16);
    expect(first).toEqual(
      order === 'one-pass'
        ? ['TDH.MEM.PAGE.ADD 0xffff0000', 'TDH.MR.EXTEND 0xffff0000', 'TDH.MR.EXTEND 0xffff0100']
        : ['TDH.MEM.PAGE.ADD 0xffff0000', 'TDH.MEM.PAGE.ADD 0xffff1000', 'TDH.MEM.PAGE.ADD 0xffff2000'],
    );
  });

  it('says what is wrong with an image and where, and ends with 1', () => {
    const image = Buffer.from(readFileSync(new URL('../../images/minimal.bin', import.meta.url)));
    const broken = file('broken.bin', image.subarray(0, 4096));
    const run = tdxctl(['measure', broken, '--json']);
    expect(run.code).toBe(1);
    expect(run.json()).toMatchObject({ error: { name: 'ImageError', code: 'ERR_TD_IMAGE', rule: expect.any(String) } });
    expect(run.err).toMatch(/^tdxctl: .* at file offset 0x/);
    expect(run.err).not.toMatch(/^\s+at /m);
  });
});
