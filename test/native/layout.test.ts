import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { KVM_EXIT, KVM_TDX, KVM_TDX_MEASURE_MEMORY_REGION, PAGE_SIZE } from '../../src/kvm/index.js';
import { compile, compilers } from './compile.js';

/** The sizes, offsets and numbers that a program prints. */
function printedBy(program: string): Map<string, number> {
  const { stdout } = spawnSync(program, { encoding: 'utf8' });
  return new Map(
    stdout
      .trim()
      .split('\n')
      .map((line) => {
        const [name, value] = line.split(' ');
        return [name!, Number(value)];
      }),
  );
}

describe.skipIf(compilers === undefined)('layouts and numbers of the kernel interface', () => {
  const ours = () => printedBy(compile('layout-ours', ['test/layout_ours.cc']));

  it.skipIf(!existsSync('/usr/include/linux/kvm.h'))("are those of the system's <linux/kvm.h>", () => {
    const theirs = printedBy(compile('layout-theirs', ['test/layout_theirs.c']));
    const mine = ours();
    for (const [name, value] of theirs) expect(mine.get(name), name).toBe(value);
    expect(theirs.size).toBeGreaterThan(100);
    const absent = [...mine.keys()].filter((name) => !theirs.has(name));
    if (absent.length > 0)
      console.log(`not compared, the system's header is too old: ${absent.length} of ${mine.size}`);
  });

  it('are the same in TypeScript and in C++', () => {
    const mine = ours();
    for (const [name, value] of Object.entries(KVM_EXIT)) expect(mine.get(`KVM_EXIT_${name}`), name).toBe(value);
    for (const [name, value] of Object.entries(KVM_TDX)) expect(mine.get(`KVM_TDX_${name}`), name).toBe(value);
    expect(mine.get('KVM_TDX_MEASURE_MEMORY_REGION')).toBe(KVM_TDX_MEASURE_MEMORY_REGION);
    expect(mine.get('PAGE_SIZE')).toBe(PAGE_SIZE);
  });
});
