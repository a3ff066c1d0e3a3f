import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import * as cpuid from '../../src/wire/layout/cpuid.js';
import * as registers from '../../src/wire/layout/registers.js';
import * as run from '../../src/wire/layout/run.js';
import { array, bytes, Struct, struct, u8, u16, u64 } from '../../src/wire/layout/struct.js';
import * as tdx from '../../src/wire/layout/tdx.js';
import * as vm from '../../src/wire/layout/vm.js';
import { systemRequests } from '../../src/wire/requests/system.js';
import { vcpuRequests } from '../../src/wire/requests/vcpu.js';
import { vmRequests } from '../../src/wire/requests/vm.js';
import { compile, compilers } from '../native/compile.js';

const structs = [cpuid, registers, run, tdx, vm].flatMap((module) =>
  Object.values(module as Record<string, unknown>).filter((value) => value instanceof Struct),
) as Struct<never>[];

/** What the C++ statement of the kernel's interface says of itself: `kvm_run.io.port 34`, `sizeof(kvm_regs) 144`. */
function statedInCpp(): Map<string, number> {
  const { stdout } = spawnSync(compile('layout-ours', ['test/layout_ours.cc']), { encoding: 'utf8' });
  const lines = stdout.trim().split('\n');
  return new Map(lines.map((line) => [line.split(' ')[0]!, Number(line.split(' ')[1])]));
}

describe.skipIf(compilers === undefined)("the kernel's structures in TypeScript and in C++, written apart", () => {
  it('lie alike, to the last field', () => {
    const cpp = statedInCpp();
    const compared: string[] = [];
    for (const { name, size, offsets } of structs.map((s) => ({ name: s.name, size: s.size, offsets: s.offsets() }))) {
      const stated = cpp.get(`sizeof(${name})`);
      if (stated !== undefined) expect(size, `sizeof(${name})`).toBe(stated);
      for (const [field, offset] of offsets) {
        const inCpp = cpp.get(`${name}.${field}`);
        if (inCpp === undefined) continue;
        expect(offset, `${name}.${field}`).toBe(inCpp);
        compared.push(`${name}.${field}`);
      }
    }
    const missing = [...cpp.keys()].filter((key) => key.includes('.') && !compared.includes(key));
    expect(missing).toEqual([]);
    expect(compared.length).toBeGreaterThan(90);
  });

  it('make the same request numbers', () => {
    const cpp = statedInCpp();
    const requests = [...systemRequests, ...vmRequests, ...vcpuRequests];
    const known = requests.filter(({ name }) => cpp.has(name));
    for (const { name, number } of known) expect(number, name).toBe(cpp.get(name));
    expect(new Set(known.map(({ name }) => name)).size).toBeGreaterThan(15);
  });
});

describe('a structure', () => {
  const outer = struct('outer', 24, { a: u8(0), b: u16(2), list: array(8, 2, u64) });

  it('is decoded from bytes and encoded to the same bytes', () => {
    const data = Uint8Array.from({ length: 24 }, (_, i) => i);
    const value = outer.decode(data);
    expect(value).toEqual({ a: 0, b: 0x0302, list: [0x0f0e0d0c0b0a0908n, 0x1716151413121110n] });
    expect(outer.decode(outer.encode(value))).toEqual(value);
  });

  it('that is cut short is refused', () => {
    expect(() => outer.decode(new Uint8Array(23))).toThrow(RangeError);
  });

  it('has zeros where nothing is given', () => {
    expect(outer.encode({ b: 1 })).toEqual(Uint8Array.from([0, 0, 1, ...new Array(21).fill(0)]));
    expect(struct('s', 4, { text: bytes(0, 4) }).encode({ text: Uint8Array.of(7) })).toEqual(Uint8Array.of(7, 0, 0, 0));
  });
});
