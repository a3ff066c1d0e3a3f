import { describe, expect, it } from 'vitest';
import { get, RunningTd, result, set, tdcall } from './guest-td.js';

const ALL = 0xffeen & ~0x13n;
const VMCALL = 0;

describe('TDG.VP.VMCALL', () => {
  it('leaves the TD with exit reason 77, the mask in RCX, and the registers that it selects', async () => {
    const td = new RunningTd({}, [
      tdcall(VMCALL, { rcx: 0xfc00n, r10: 0n, r11: 30n, r12: 1n, r13: 1n, r14: 0x3f8n, r15: 0x41n, rdx: 5n }),
    ]);
    expect(await td.enter()).toMatchObject({
      status: 77n,
      rcx: 0xfc00n,
      rdx: 0n,
      r10: 0n,
      r11: 30n,
      r14: 0x3f8n,
      r15: 0x41n,
      rbp: 0n,
    });
    expect(td.cpu.rip).toBe(0xffff_fff0n + 4n);
  });

  it('shares every register but RAX, RCX and RSP', async () => {
    const names = ['rdx', 'rbx', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const;
    const values = Object.fromEntries(names.map((name, i) => [name, BigInt(i + 1)]));
    const td = new RunningTd({}, [tdcall(VMCALL, { rcx: ALL, ...values })]);
    expect(await td.enter()).toMatchObject(values);
  });

  it('gives the guest 0 in RAX and the host values in the selected registers at the next entry; others stay', async () => {
    const seen: bigint[] = [];
    const td = new RunningTd({}, [
      tdcall(VMCALL, { rcx: 0x0c00n, r10: 1n, r11: 2n, r12: 3n, rdx: 4n }),
      (cpu) => {
        seen.push(...(['rax', 'rcx', 'r10', 'r11', 'r12', 'rdx'] as const).map((name) => get(cpu, name)));
        return { kind: 'triple-fault' };
      },
    ]);
    await td.enter();
    await td.enter({ r10: 0x10n, r11: 0x11n, r12: 0x12n, rdx: 0x13n });
    expect(seen).toEqual([0n, 0x0c00n, 0x10n, 0x11n, 3n, 4n]);
  });

  it('changes no register of the guest where it left for another reason', async () => {
    const td = new RunningTd({}, [
      (cpu) => {
        set(cpu, { rcx: 0xfc00n, r10: 9n });
        return { kind: 'interrupted' };
      },
      { kind: 'triple-fault' },
    ]);
    expect((await td.enter()).status).toBe(1n);
    await td.enter({ r10: 1n });
    expect(get(td.cpu, 'r10')).toBe(9n);
  });

  it.each([
    ['RAX', 0x1n],
    ['RCX', 0x2n],
    ['RSP', 0x10n],
    ['bits 63:32', 1n << 32n],
    ['bits 63:32', 1n << 63n],
  ])('refuses a mask with %s', async (_, mask) => {
    expect(await result({}, tdcall(VMCALL, { rcx: 0xfc00n | mask }))).toEqual({
      status: 'TDX_OPERAND_INVALID, operand RCX',
      rule: 'module.vmcall.mask',
    });
  });

  it('refuses RBP in the mask with CONFIG_FLAGS.NO_RBP_MOD, and leaves the host its RBP', async () => {
    const refused = await result({ flags: 4 }, tdcall(VMCALL, { rcx: 0x20n }));
    expect(refused.rule).toBe('module.vmcall.mask');
    const td = new RunningTd({ flags: 4 }, [tdcall(VMCALL, { rcx: 0xfc00n })]);
    expect(await td.enter()).not.toHaveProperty('rbp');
  });
});
