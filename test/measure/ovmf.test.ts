import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { buildTdHob, lintTdvf, loadImage, parseTdvf, ramLayout } from '../../src/image/index.js';
import { measureTd } from '../../src/measure/index.js';
import { mrtdByDefinition, type Pages } from './independent.js';

// Firmware of the Debian package `ovmf`, where it is installed.
const path = '/usr/share/ovmf/OVMF.fd';
const missing = existsSync(path) ? undefined : `${path} is not there: apt-get install ovmf`;
const bytes = missing ? Buffer.alloc(0) : readFileSync(path);

describe(`Debian's OVMF.fd${missing ? ` (skipped: ${missing})` : ''}`, () => {
  it.skipIf(missing)('has the sections of a TDVF: a measured BFV that ends at 4 GiB, and unmeasured ones', () => {
    const { foundBy, sections } = parseTdvf(bytes);
    expect(foundBy).toBe('guid-table');
    const kinds = sections.map(({ name, measured, aug }) => [name, measured, aug]);
    expect(kinds.filter(([name]) => name === 'BFV')).toEqual([['BFV', true, false]]);
    expect(kinds.map(([name]) => name).sort()).toEqual(['BFV', 'CFV', 'TD_HOB', 'TempMem', 'TempMem', 'TempMem']);
    expect(kinds.filter(([, measured, aug]) => measured || aug)).toHaveLength(1);
  });

  it.skipIf(missing)('is taken by QEMU and cloud-hypervisor', () => {
    const { verdicts, findings } = lintTdvf(bytes);
    expect(findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect([verdicts.qemu.accepts, verdicts['cloud-hypervisor'].accepts]).toEqual([true, true]);
  });

  it.skipIf(missing)('has a place for the TD HOB that is large enough', () => {
    const image = loadImage(bytes);
    const hob = buildTdHob({ ...image.hob!, regions: image.regions, ram: ramLayout(2n << 30n) });
    expect(hob).toHaveLength(image.hob!.size);
  });

  it.skipIf(missing).each(['one-pass', 'two-pass'] as const)('has the MRTD that its metadata define: %s', (order) => {
    // The metadata read here on its own: the descriptor is found by its signature.
    const descriptor = bytes.indexOf('TDVF', bytes.length - 0x1000);
    const sections = Array.from({ length: bytes.readUInt32LE(descriptor + 12) }, (_, index): Pages => {
      const at = descriptor + 16 + 32 * index;
      const dataOffset = bytes.readUInt32LE(at);
      return {
        gpa: Number(bytes.readBigUInt64LE(at + 8)),
        size: Number(bytes.readBigUInt64LE(at + 16)),
        data: bytes.subarray(dataOffset, dataOffset + bytes.readUInt32LE(at + 4)),
        measure: (bytes.readUInt32LE(at + 28) & 1) === 1,
      };
    });
    expect(sections.length).toBeGreaterThan(2);
    expect(measureTd(loadImage(bytes), { order }).mrtd).toBe(mrtdByDefinition(sections, order));
  });

  it.skipIf(missing)('has another MRTD on kernels that measure in two passes', () => {
    const image = loadImage(bytes);
    expect(measureTd(image, { order: 'two-pass' }).mrtd).not.toBe(measureTd(image).mrtd);
  });
});
