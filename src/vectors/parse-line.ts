// Vectors hold u64 values as JSON numbers; beyond 2^53 JSON.parse would round them.
const LARGE_INTEGER = /([:[,]\s*)(-?\d{16,})(?=\s*[,}\]])/g;
const STRING_OR_REST = /"(?:[^"\\]|\\.)*"|[^"]+/g;

/** JSON.parse for a line of a vector file; integers of 16 digits and more become decimal strings, which BigInt takes. */
export function parseVectorLine(line: string): unknown {
  if (!/\d{16}/.test(line)) return JSON.parse(line);
  const safe = line.replace(STRING_OR_REST, (part) =>
    part.startsWith('"') ? part : part.replace(LARGE_INTEGER, '$1"$2"'),
  );
  return JSON.parse(safe);
}
