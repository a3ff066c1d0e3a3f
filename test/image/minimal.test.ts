import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { BUNDLED_IMAGES, buildTdHob, bundledImage, lintTdvf, parseTdvf, ramLayout } from '../../src/image/index.js';
import { measureTd } from '../../src/measure/index.js';

const fileOf = (name: string) => readFileSync(new URL(`../../images/${name}.bin`, import.meta.url));
const bytes = fileOf('minimal');
const BASE = 0xffff0000;
const u64 = (gpa: number) => bytes.readBigUInt64LE(gpa - BASE);
/** MRTD of each image: what a verifier would have on its list. */
const MRTD = {
  minimal: '8f90fd6a14c1457a737b5191a657ab6179033993d94e4e64b305aff238166bb96e1f1e2b0f03669b4c17b62b4519b0b6',
  fatal: 'f23421b379f8c587c36b8fd0cb415ecfae49a8d55e12d3320cbedb6e452c9e82d6e6bfeb26e282d1a7e5a63967dd8666',
  'triple-fault': 'f4a9329b8a0ac473da0c7404ec48daa312ec0a1cfebabeafabf24ddb3da81764842f3cd96a06b7c73d6e37a933a63374',
};

it('the images are what their sources assemble to', ({ skip }) => {
  const script = new URL('../../scripts/build-images.mjs', import.meta.url).pathname;
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
  if (status === 3) skip(stderr.trim());
  expect(stderr).toBe('');
  expect(status).toBe(0);
});

describe.each(BUNDLED_IMAGES)('the image %s', (name) => {
  it('is a TDVF image that QEMU, cloud-hypervisor and td-shim take', () => {
    const { findings, verdicts } = lintTdvf(fileOf(name));
    expect(findings).toEqual([]);
    expect(Object.values(verdicts).every(({ accepts }) => accepts)).toBe(true);
  });

  it('has the MRTD that is known of it', () => {
    expect(measureTd(bundledImage(name)).mrtd).toBe(MRTD[name]);
  });

  it('jumps from the reset vector into itself', () => {
    const file = fileOf(name);
    expect(file[0xfff0]).toBe(0xe9);
    const target = 0xfff5 + file.readInt32LE(0xfff1);
    expect(target).toBeGreaterThanOrEqual(0);
    expect(target).toBeLessThan(0xfe00);
  });
});

describe('the minimal TD image', () => {
  it('is found by the GUID table, and by the legacy offset alone', () => {
    expect(parseTdvf(bytes).foundBy).toBe('guid-table');
    const legacy = Buffer.from(bytes);
    legacy.fill(0, legacy.length - 0x30, legacy.length - 0x20);
    expect(parseTdvf(legacy)).toMatchObject({ foundBy: 'legacy-offset', sections: parseTdvf(bytes).sections });
  });

  it('measures its 64 KiB and asks for a TD HOB and four pages of memory', () => {
    const image = bundledImage();
    expect(image).toMatchObject({ kind: 'tdvf', name: 'minimal', hob: { gpa: 0x9000n, size: 0x1000 } });
    expect(image.regions.map(({ gpa, size, measure, add }) => [gpa, size, measure, add])).toEqual([
      [0xffff0000n, 0x10000, true, true],
      [0x10000n, 0x4000, false, true],
      [0x9000n, 0x1000, false, true],
    ]);
  });

  it('runs with 1 MiB of RAM: its HOB fits', () => {
    const image = bundledImage();
    expect(buildTdHob({ ...image.hob!, regions: image.regions, ram: ramLayout(1 << 20) })).toHaveLength(0x1000);
  });

  it('begins by loading its segments, without a stack or a data segment', () => {
    const target = 0xfff5 + bytes.readInt32LE(0xfff1);
    // lgdt cs:[gdt_pointer]
    expect(bytes.subarray(target, target + 4).toString('hex')).toBe('2e0f0115');
    const pointer = bytes.readUInt32LE(target + 4) - BASE;
    expect(bytes.readUInt16LE(pointer)).toBe(23);
    const gdt = bytes.readUInt32LE(pointer + 2);
    expect(u64(gdt + 8)).toBe(0x00af9b000000ffffn);
  });

  it('gives the module buffers that are aligned as it wants them', () => {
    const at = (text: string) => bytes.indexOf(text);
    expect(at('kvm-tdx: the minimal TD extends') % 64).toBe(0);
    expect(at('kvm-tdx: the minimal TD asked') % 64).toBe(0);
  });

  it('has page tables that map itself and the first GiB to themselves', () => {
    const translate = (address: bigint): bigint => {
      const entry = (table: bigint, shift: bigint) => u64(Number(table) + Number((address >> shift) & 511n) * 8);
      const follow = (value: bigint) => {
        expect(value & 0x23n).toBe(0x23n);
        return value & ~0xfffn;
      };
      const large = entry(follow(entry(follow(entry(BigInt(BASE), 39n)), 30n)), 21n);
      expect(large & 0xe3n).toBe(0xe3n);
      return (large & ~0x1fffffn) | (address & 0x1fffffn);
    };
    for (const address of [0n, 0x9000n, 0x14000n, 0x3fffffffn, 0xc0000000n, 0xffff0000n, 0xffffffffn]) {
      expect(translate(address)).toBe(address);
    }
  });

  it('has a handler in its image for each of the 32 exceptions, which knows its vector', () => {
    const errorCodes = new Set([8, 10, 11, 12, 13, 14, 17, 21, 29, 30]);
    for (let vector = 0; vector < 32; vector++) {
      const gate = 0x4100 + 16 * vector;
      expect(bytes.readUInt32LE(gate + 2)).toBe(0x8e000008);
      const handler = bytes.readUInt16LE(gate) + bytes.readUInt16LE(gate + 6) * 0x10000 - BASE;
      const push = errorCodes.has(vector) ? [0x6a, vector] : [0x6a, 0, 0x6a, vector];
      expect([...bytes.subarray(handler, handler + push.length)]).toEqual(push);
      expect(bytes[handler + push.length]).toBe(0xe9);
    }
  });
});
