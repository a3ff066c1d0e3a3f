import { describe, expect, it } from 'vitest';
import { IMAGE_RULES, lintTdvf, VMM_RULES } from '../../src/image/index.js';
import { BFV, buildTdvf, HOB, type SectionSpec, SIZE, type TdvfSpec, TEMP } from './build-tdvf.js';

const verdictsOf = (spec: TdvfSpec) => lintTdvf(buildTdvf(spec)).verdicts;
const payload: SectionSpec = { type: 5, gpa: 0x200000n, memorySize: 0x1000n };
const cfv: SectionSpec = { type: 1, rawSize: 0x2000, gpa: 0x20000n, memorySize: 0x2000n };
const info: SectionSpec = { type: 7, dataOffset: 0x100, rawSize: 0x40 };

describe('linting a TDVF image', () => {
  it('finds nothing in a good one: everybody loads it', () => {
    const { findings, verdicts } = lintTdvf(buildTdvf({ pointer: 'both' }));
    expect(findings).toEqual([]);
    const yes = { accepts: true, rules: [] };
    expect(verdicts).toEqual({ qemu: yes, 'cloud-hypervisor': yes, 'td-shim': yes });
  });

  it('tells all errors at once, with section and offset', () => {
    const sections = [
      { ...BFV, attributes: 8 },
      { ...TEMP, gpa: 1n },
      { ...HOB, rawSize: 5 },
    ];
    const { findings, verdicts } = lintTdvf(buildTdvf({ sections }));
    const errors = findings.filter(({ severity }) => severity === 'error');
    expect(errors.map(({ rule, section }) => [rule, section])).toEqual([
      ['section.attributes', 0],
      ['section.alignment', 1],
      ['section.raw-forbidden', 2],
    ]);
    expect(Object.values(verdicts).map(({ accepts }) => accepts)).toEqual([false, false, false]);
  });

  it('tells every section that shares pages, also with one that began earlier', () => {
    const large = { ...TEMP, memorySize: 0x9000n };
    const sections = [
      BFV,
      large,
      { ...TEMP, gpa: 0x11000n, memorySize: 0x1000n },
      { ...TEMP, gpa: 0x14000n, memorySize: 0x1000n },
    ];
    const overlaps = lintTdvf(buildTdvf({ sections })).findings.filter(({ rule }) => rule === 'section.overlap');
    expect(overlaps.map(({ section }) => section)).toEqual([2, 3]);
    expect(overlaps[1]!.what).toBe(
      'section 3 (TempMem): MemoryAddress lies in section 1 (TempMem), 0x10000 to 0x19000',
    );
  });

  it('does not throw for what is no image', () => {
    const { image, findings, verdicts } = lintTdvf(new Uint8Array(100));
    expect(image).toBeUndefined();
    expect(findings).toMatchObject([{ rule: 'tdvf.metadata', severity: 'error' }]);
    expect(verdicts.qemu).toEqual({ accepts: false, rules: ['tdvf.metadata'] });
  });

  it('a section of each type: QEMU takes 0 to 3, cloud-hypervisor 0 to 6, td-shim 0 to 8', () => {
    const accepted = (section: SectionSpec) => {
      const verdicts = verdictsOf({ sections: [BFV, HOB, section] });
      return Object.values(verdicts).map(({ accepts }) => accepts);
    };
    const perm: SectionSpec = { type: 4, gpa: 0x200000n, memorySize: 0x1000n, attributes: 2 };
    expect(accepted(TEMP)).toEqual([true, true, true]);
    expect(accepted(perm)).toEqual([false, true, true]);
    expect(accepted(payload)).toEqual([false, true, true]);
    expect(accepted(info)).toEqual([false, false, true]);
    expect(accepted({ ...info, type: 8 })).toEqual([false, false, true]);
    expect(accepted({ ...TEMP, type: 9 })).toEqual([false, false, false]);
  });

  it.each<[string, TdvfSpec, string[]]>([
    ['finds metadata by the GUID table only', { pointer: 'legacy-offset' }, ['qemu.guid']],
    ['wants files of 64 KiB pieces', { size: SIZE + 0x1000 }, ['qemu.file-size']],
    ['wants two sections and a TD_HOB', { sections: [BFV] }, ['qemu.sections', 'qemu.hob']],
    ['adds pages that were to be accepted', { sections: [BFV, HOB, { ...TEMP, attributes: 2 }] }, ['qemu.page-aug']],
    ['adds what follows in the file', { sections: [{ ...cfv, memorySize: 0x3000n }, BFV, HOB] }, ['qemu.raw-size']],
    ['wants data at pages of the file', { sections: [{ ...cfv, dataOffset: 8 }, BFV, HOB] }, ['qemu.data-offset']],
    ['has no RAM below the firmware', { sections: [BFV, HOB, { ...TEMP, gpa: 0xffe00000n }] }, ['qemu.memory']],
  ])('QEMU %s', (_what, spec, rules) => {
    expect(verdictsOf(spec).qemu).toEqual({ accepts: false, rules });
  });

  it.each<[string, SectionSpec[], string]>([
    ['wants the BFV measured', [{ ...BFV, attributes: 0 }, HOB], 'td-shim.attributes'],
    ['wants DataOffset 0 without data', [BFV, { ...HOB, dataOffset: 8 }], 'td-shim.data-offset'],
    ['wants a TD_HOB or a PermMem', [BFV, TEMP], 'td-shim.counts'],
    ['takes one Payload', [BFV, HOB, payload, { ...payload, gpa: 0x300000n }], 'td-shim.counts'],
    ['takes PayloadParam only with a Payload', [BFV, HOB, { ...payload, type: 6 }], 'td-shim.counts'],
    ['wants TD_INFO in the BFV', [{ ...BFV, dataOffset: 0x1000, rawSize: SIZE }, HOB, info], 'td-shim.in-bfv'],
  ])('td-shim %s', (_what, sections, rule) => {
    const verdicts = verdictsOf({ sections, size: SIZE + 0x1000 });
    expect(verdicts['td-shim']).toEqual({ accepts: false, rules: [rule] });
  });

  it('every rule has an id of its own, a source and advice', () => {
    for (const [id, rule] of Object.entries({ ...IMAGE_RULES, ...VMM_RULES })) {
      expect(rule).toMatchObject({
        id,
        source: expect.stringMatching(/\w/),
        what: expect.stringMatching(/\w/),
        fix: expect.stringMatching(/\w/),
      });
    }
  });
});
