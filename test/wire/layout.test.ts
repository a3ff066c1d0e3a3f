import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as cpuid from '../../src/wire/layout/cpuid.js';
import * as plain from '../../src/wire/layout/plain.js';
import * as registers from '../../src/wire/layout/registers.js';
import * as run from '../../src/wire/layout/run.js';
import * as state from '../../src/wire/layout/state.js';
import { array, bytes, Struct, struct, u8, u16, u64 } from '../../src/wire/layout/struct.js';
import * as tdx from '../../src/wire/layout/tdx.js';
import * as vm from '../../src/wire/layout/vm.js';
import { allRequests } from '../../src/wire/requests/ioctl.js';
import { compile, compilers } from '../native/compile.js';

const structs = [cpuid, plain, registers, run, state, tdx, vm].flatMap((module) =>
  Object.values(module as Record<string, unknown>).filter((value) => value instanceof Struct),
) as Struct<never>[];

const requests = allRequests();

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
    const known = requests.filter(({ name }) => cpp.has(name));
    for (const { name, number } of known) expect(number, name).toBe(cpp.get(name));
    expect(new Set(known.map(({ name }) => name)).size).toBeGreaterThan(15);
  });
});

/** Fields that the header has deeper inside. */
const IN_HEADER: Readonly<Record<string, string>> = {
  'kvm_irq_routing_entry.irqchip': 'u.irqchip.irqchip',
  'kvm_irq_routing_entry.pin': 'u.irqchip.pin',
  'kvm_irq_routing_entry.address_lo': 'u.msi.address_lo',
  'kvm_irq_routing_entry.address_hi': 'u.msi.address_hi',
  'kvm_irq_routing_entry.data': 'u.msi.data',
  'kvm_nested_state.vmxon_pa': 'hdr.vmx.vmxon_pa',
  'kvm_nested_state.vmcs12_pa': 'hdr.vmx.vmcs12_pa',
  'kvm_nested_state.smm_flags': 'hdr.vmx.smm.flags',
  'kvm_nested_state.vmx_flags': 'hdr.vmx.flags',
  'kvm_guest_debug.debugreg': 'arch.debugreg',
};

/** With a flexible array or a part that the model does not read: the size in the number is not that of the table. */
const NO_SIZE = new Set(['kvm_tdx_capabilities', 'kvm_tdx_init_vm', 'kvm_run']);

describe.skipIf(compilers === undefined || !existsSync('/usr/include/linux/kvm.h'))(
  "what the system's <linux/kvm.h> knows",
  () => {
    it('is as in the tables: every offset, size and request number', () => {
      const asserts: string[] = [];
      const claim = (what: string, condition: string) => asserts.push(`_Static_assert(${condition}, "CLAIM ${what}");`);
      for (const { name, size, ...rest } of structs.map((s) => ({ name: s.name, size: s.size, fields: s.offsets() }))) {
        if (!name.startsWith('kvm_')) continue;
        if (!NO_SIZE.has(name)) claim(`sizeof(${name})`, `sizeof(struct ${name}) == ${size}`);
        for (const [field, offset] of rest.fields) {
          const path = IN_HEADER[`${name}.${field}`] ?? field;
          claim(`${name}.${field}`, `__builtin_offsetof(struct ${name}, ${path}) == ${offset}`);
        }
      }
      for (const { name, number } of requests) {
        asserts.push(`#ifdef ${name}`);
        claim(name, `${name} == ${number}UL`);
        asserts.push('#endif');
      }
      const input = `#include <linux/kvm.h>\n${asserts.join('\n')}\n`;
      const args = ['-x', 'c', '-fsyntax-only', '-fmax-errors=0', '-'];
      const { stderr } = spawnSync('cc', args, { input, encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
      expect(stderr.match(/CLAIM [^"]*/g) ?? []).toEqual([]);
      // Structures and fields that are newer than the header fail to compile, and nothing else does.
      const errors = stderr.split('\n').filter((line) => line.includes('error:'));
      const unknown = /undefined type|incomplete type|has no member|is not an integer/;
      expect(errors.filter((line) => !unknown.test(line))).toEqual([]);
      expect(errors.length).toBeLessThan(asserts.length / 2);
    });
  },
);

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
