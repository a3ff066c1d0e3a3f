import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CPUID_FEATURES } from '../../src/cpuid/names.js';
import { TdConfigSchema } from '../../src/td/schema.js';

const script = new URL('../../scripts/write-schema.mjs', import.meta.url).href;
const { tdJsonSchema } = (await import(script)) as { tdJsonSchema: (schema: unknown) => unknown };
const published = JSON.parse(readFileSync(new URL('../../schema/td.schema.json', import.meta.url), 'utf8'));

test('the published schema is what the code generates; npm run schema writes it', () => {
  expect(published).toEqual(tdJsonSchema(TdConfigSchema));
});

test('every field has a title or a description, so that editors explain it', () => {
  const silent = Object.entries<{ description?: string }>(published.properties)
    .filter(([, field]) => field.description === undefined)
    .map(([name]) => name);
  expect(silent).toEqual([]);
});

test('types that JSON lacks are not in it', () => {
  expect(JSON.stringify(published)).not.toMatch(/"dropped"|bigint|Uint8Array|\{\}/);
});

test('editors complete the names of attributes, XFAM components and CPUID features', () => {
  expect(published.properties.attributes.anyOf[0].items.enum).toContain('SEPT_VE_DISABLE');
  expect(published.properties.xfam.anyOf[0].items.enum).toContain('AVX512');
  expect(Object.keys(published.properties.features.properties)).toHaveLength(CPUID_FEATURES.length);
  expect(published.properties.features.properties.AMX_BF16.description).toBe('CPUID(0x7).EDX[22]: AMX bfloat16');
});
