// Writes schema/td.schema.json from the schema that the code checks configurations with. Build first.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { toJsonSchema } from '@valibot/to-json-schema';

// Types that only programs can give; JSON has neither.
const onlyInPrograms = new Set(['bigint', 'instance']);
const drop = 'dropped';

const tidy = (node) => {
  if (Array.isArray(node)) return node.map(tidy);
  if (node === null || typeof node !== 'object') return node;
  const entries = Object.entries(node).map(([key, value]) => [key, tidy(value)]);
  const { anyOf, ...rest } = Object.fromEntries(entries);
  if (anyOf === undefined) return rest;
  const kept = anyOf.filter((option) => option.$comment !== drop);
  return kept.length === 1 ? { ...kept[0], ...rest } : { anyOf: kept, ...rest };
};

/** The JSON Schema (draft-07) of the Valibot schema of a TD's configuration. */
export const tdJsonSchema = (schema) =>
  tidy(
    toJsonSchema(schema, {
      typeMode: 'input',
      overrideSchema: ({ valibotSchema }) => (onlyInPrograms.has(valibotSchema.type) ? { $comment: drop } : undefined),
      // Their range belongs to a type that is dropped whole.
      ignoreActions: ['check'],
      errorMode: 'ignore',
    }),
  );

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { TdConfigSchema } = await import('../dist/td/schema.js');
  const file = new URL('../schema/td.schema.json', import.meta.url);
  writeFileSync(file, `${JSON.stringify(tdJsonSchema(TdConfigSchema), null, 2)}\n`);
}
