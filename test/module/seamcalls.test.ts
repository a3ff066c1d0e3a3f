import { describe, expect, it } from 'vitest';
import { loadPlatform } from '../../src/mock/platforms.js';
import { RULES } from '../../src/rulebook/index.js';
import { Host, SOURCE, TDH } from './host.js';

const busy = (operand: string) => `TDX_OPERAND_BUSY, operand ${operand}`;

describe('Leaves and versions', () => {
  it('that the module does not serve are refused', () => {
    const host = new Host();
    expect(host.call(200)).toMatchObject({ status: 0xc000_0100_0000_0000n, rule: 'module.call.leaf' });
    expect(host.call(TDH.MEM_TRACK, { version: 1 })).toMatchObject({ rule: 'module.call.version' });
  });

  it('every refusal cites an entry of the rulebook whose status it has', () => {
    const host = new Host();
    const { status, rule } = host.call(TDH.MNG_CREATE, { rcx: host.fresh(), rdx: 5n });
    expect(RULES[rule as keyof typeof RULES]).toMatchObject({ status: 'TDX_OPERAND_INVALID', operand: 'RDX' });
    expect(status).toBe(0xc000_0100_0000_0002n);
  });

  it('TDH.VP.INIT takes x2APIC ids from 1.5.05 on', () => {
    const host = new Host('1.5.01');
    const tdvpr = host.vcpu(host.td());
    expect(host.call(TDH.VP_INIT, { version: 1, rcx: tdvpr })).toMatchObject({ rule: 'module.call.version' });
  });
});

describe('A physical address', () => {
  const TDR_AT_2_47 = 1n << 47n;

  /** `spr` with the low byte of CPUID(0x80000008).EAX as given. */
  const withMaxPa = (maxPa: number): Host => {
    const platform = structuredClone(loadPlatform('spr'));
    const row = platform.cpuid.find(({ leaf }) => Number(leaf) === 0x8000_0008)!;
    row.eax = 0x3900 | maxPa;
    return new Host('1.5.06', {}, platform);
  };

  it('above MAXPA but below 2^52 is only outside of every TDMR', () => {
    const create = { rcx: TDR_AT_2_47, rdx: 33n };
    // With a MAXPA of 46 the KeyID is in bits 45:40.
    expect(withMaxPa(46).status(TDH.MNG_CREATE, create)).toBe('TDX_OPERAND_ADDR_RANGE_ERROR, operand RCX');
    // With a MAXPA of 52 bit 47 belongs to the KeyID.
    expect(new Host().status(TDH.MNG_CREATE, create)).toBe('TDX_OPERAND_INVALID, operand RCX');
  });

  it('of a guest is limited by its MAXPA, unless that is 0', () => {
    const mapAt2To46 = (maxPa: number): string => {
      const host = withMaxPa(maxPa);
      return host.status(TDH.MEM_SEPT_ADD, { rcx: (1n << 46n) | 3n, rdx: host.td(), r8: host.fresh() });
    };
    expect(mapAt2To46(46)).toBe('TDX_OPERAND_INVALID, operand RCX');
    expect(mapAt2To46(0)).toBe('TDX_SUCCESS');
  });

  it('is apart from the SEAMRR as bits 51:25 of its MSRs describe it', () => {
    const platform = structuredClone(loadPlatform('spr'));
    platform.msr = { ...platform.msr, '0x1400': '0x78fff008', '0x1401': '0xffffff8fff000' };
    const host = new Host('1.5.06', {}, platform);
    const tdr = host.fresh();
    host.must(TDH.MNG_CREATE, { rcx: tdr, rdx: 33n });
    host.must(TDH.MNG_KEY_CONFIG, { rcx: tdr });
    for (let i = 0; i < 6; i++) host.must(TDH.MNG_ADDCX, { rcx: host.fresh(), rdx: tdr });
    // 128 MiB from 0x78000000, although the lower bits of both MSRs name a page at 0x78fff000.
    const init = (rdx: bigint) => host.status(TDH.MNG_INIT, { rcx: tdr, rdx });
    expect(init(0x7fff_fc00n)).toBe('TDX_OPERAND_INVALID, operand RDX');
    expect(init(0x8000_0000n)).toBe('TDX_OPERAND_INVALID, operand XFAM');
  });
});

describe('A blocked range of a running TD', () => {
  it.each([
    ['1.5.01', 0x92n],
    ['1.5.05', 1n],
    ['1.5.06', 1n],
  ])('cannot be unblocked before tracking; %s names operand %i', (version, operand) => {
    const host = new Host(version);
    const tdr = host.td();
    host.tables(tdr);
    host.add(tdr, 0n);
    host.vcpu(tdr);
    host.must(TDH.MR_FINALIZE, { rcx: tdr });
    host.must(TDH.MEM_RANGE_BLOCK, { rcx: 0n, rdx: tdr });
    const { status } = host.call(TDH.MEM_RANGE_UNBLOCK, { rcx: 0n, rdx: tdr });
    expect(status).toBe(0xc000_0b08_0000_0000n | operand);
  });
});

describe('One page in two roles of a call', () => {
  it('is busy with itself', () => {
    const host = new Host();
    const tdr = host.td({ maxVcpus: 2 });
    const tdvpr = host.fresh();
    host.must(TDH.VP_CREATE, { rcx: tdvpr, rdx: tdr });
    host.tables(tdr);
    expect(host.status(TDH.MNG_ADDCX, { rcx: tdr, rdx: tdr })).toBe(busy('RCX'));
    expect(host.status(TDH.VP_CREATE, { rcx: tdr, rdx: tdr })).toBe(busy('RCX'));
    expect(host.status(TDH.VP_ADDCX, { rcx: tdvpr, rdx: tdvpr })).toBe(busy('RCX'));
    expect(host.status(TDH.VP_ADDCX, { rcx: tdr, rdx: tdvpr })).toBe(busy('RCX'));
    expect(host.status(TDH.MEM_PAGE_ADD, { rcx: 0n, rdx: tdr, r8: tdr, r9: SOURCE })).toBe(busy('R8'));
    expect(host.status(TDH.MEM_PAGE_AUG, { rcx: 0n, rdx: tdr, r8: tdr })).toBe(busy('R8'));
    expect(host.status(TDH.MEM_SEPT_ADD, { rcx: 0x20_0001n, rdx: tdr, r8: tdr })).toBe(busy('R8'));
  });
});

describe('A VCPU inside', () => {
  const inside = () => {
    const host = new Host();
    const tdr = host.td({ maxVcpus: 2 });
    host.tables(tdr);
    const page = host.add(tdr, 0n);
    const tdvpr = host.vcpu(tdr, 0x1234n);
    host.must(TDH.MR_FINALIZE, { rcx: tdr });
    const entered = host.module.enter({ rcx: tdvpr });
    if (!('leave' in entered)) throw new Error(entered.rule);
    return { host, tdr, tdvpr, page, entered };
  };

  it('has its initial registers: GPAW in RBX, VCPU index in RSI, the argument in RCX and R8, the processor in RDX', () => {
    const { entered } = inside();
    expect([...entered.vcpu.gprs]).toEqual([0n, 0x1234n, 0x806f8n, 48n, 0n, 0n, 0n, 0n, 0x1234n, ...Array(7).fill(0n)]);
  });

  it('keeps TDR and TDVPR from calls that need them alone', () => {
    const { host, tdr, tdvpr, entered } = inside();
    expect(host.status(TDH.MNG_VPFLUSHDONE, { rcx: tdr })).toBe(busy('RCX'));
    expect(host.status(TDH.VP_FLUSH, { rcx: tdvpr })).toBe(busy('RCX'));
    expect(host.status(TDH.VP_ENTER, { rcx: tdvpr })).toBe('TDX_VCPU_STATE_INCORRECT');
    expect(entered.leave({ status: 0x4dn, rcx: 7n })).toMatchObject({ status: 0x4dn, rcx: 7n, rdx: 0n, r11: 0n });
    expect(host.status(TDH.VP_FLUSH, { rcx: tdvpr })).toBe('TDX_SUCCESS');
  });

  it('holds up the removal of a blocked page until it leaves', () => {
    const { host, tdr, page, entered } = inside();
    const remove = () => host.status(TDH.MEM_PAGE_REMOVE, { rcx: 0n, rdx: tdr });
    expect(remove()).toBe('TDX_GPA_RANGE_NOT_BLOCKED, operand RCX');
    host.must(TDH.MEM_RANGE_BLOCK, { rcx: 0n, rdx: tdr });
    expect(host.status(TDH.MEM_RANGE_BLOCK, { rcx: 0n, rdx: tdr })).toContain('TDX_GPA_RANGE_ALREADY_BLOCKED');
    expect(remove()).toContain('TDX_TLB_TRACKING_NOT_DONE');
    host.must(TDH.MEM_TRACK, { rcx: tdr });
    expect(remove()).toContain('TDX_TLB_TRACKING_NOT_DONE');
    expect(host.status(TDH.MEM_RANGE_UNBLOCK, { rcx: 0n, rdx: tdr })).toContain('TDX_TLB_TRACKING_NOT_DONE');
    expect(host.status(TDH.MEM_TRACK, { rcx: tdr })).toBe('TDX_PREVIOUS_TLB_EPOCH_BUSY');
    entered.leave({ status: 1n });
    expect(host.must(TDH.MEM_PAGE_REMOVE, { rcx: 0n, rdx: tdr }).rcx).toBe(page);
  });

  it('is run by the hook, or leaves at once for a host interrupt (exit reason 1)', () => {
    const host = new Host();
    const tdr = host.td();
    const tdvpr = host.vcpu(tdr);
    expect(host.status(TDH.VP_ENTER, { rcx: tdvpr })).toBe('TDX_OP_STATE_INCORRECT');
    host.must(TDH.MR_FINALIZE, { rcx: tdr });
    expect(host.call(TDH.VP_ENTER, { rcx: tdvpr })).toMatchObject({ status: 1n, rcx: 0n });
    expect(host.call(TDH.VP_ENTER, { rcx: tdvpr | 1n })).toMatchObject({ rule: 'module.vp-enter.handle' });
    const hooked = new Host('1.5.06', { onEnter: ({ index }) => ({ status: 12n, r10: BigInt(index) }) });
    const td = hooked.td();
    const vcpu = hooked.vcpu(td);
    hooked.must(TDH.MR_FINALIZE, { rcx: td });
    expect(hooked.call(TDH.VP_ENTER, { rcx: vcpu })).toMatchObject({ status: 12n, r10: 0n });
  });
});

describe('Large pages', () => {
  it('of 2 MiB can be augmented from a free aligned range, and their parts are then taken', () => {
    const host = new Host();
    const tdr = host.td();
    for (const level of [3n, 2n]) host.must(TDH.MEM_SEPT_ADD, { rcx: level, rdx: tdr, r8: host.fresh() });
    const range = 0x1_0800_0000n;
    const aug = (r8: bigint) => host.call(TDH.MEM_PAGE_AUG, { rcx: 0x20_0001n, rdx: tdr, r8 });
    expect(aug(0x1_0020_0000n)).toMatchObject({ rule: 'module.page.type' });
    expect(aug(range + 0x1000n)).toMatchObject({ rule: 'module.page.address' });
    expect(aug(range).status).toBe(0n);
    const td = host.module.tds.get(Number(tdr));
    expect(td?.children).toBe(6 + 2 + 512);
    expect(host.call(TDH.VP_CREATE, { rcx: range + 0x5000n, rdx: tdr })).toMatchObject({ rule: 'module.page.type' });
    expect(host.call(TDH.PHYMEM_PAGE_RDMD, { rcx: range + 0x5000n })).toMatchObject({ rcx: 3n, rdx: tdr, r8: 1n });
    expect(host.must(TDH.MEM_PAGE_REMOVE, { rcx: 0x20_0001n, rdx: tdr }).rcx).toBe(range);
    expect(td?.children).toBe(8);
  });
});

describe('Debug', () => {
  it('lets a host read and write memory of a TD with DEBUG only', () => {
    const host = new Host();
    host.page(SOURCE).fill(0x11);
    for (const attributes of [0, 1]) {
      const tdr = host.td({ attributes }, BigInt(33 + attributes));
      host.tables(tdr);
      host.add(tdr, 0n);
      const read = () => host.call(TDH.MEM_RD, { rcx: 0x10n, rdx: tdr });
      if (attributes === 0) expect(read()).toMatchObject({ rule: 'module.mem-rd.debug' });
      else {
        expect(read()).toMatchObject({ status: 0n, r8: 0x1111_1111_1111_1111n });
        expect(host.must(TDH.MEM_WR, { rcx: 0x10n, rdx: tdr, r8: 5n }).r8).toBe(0x1111_1111_1111_1111n);
        expect(read().r8).toBe(5n);
        expect(host.call(TDH.MEM_RD, { rcx: 0x1000n, rdx: tdr })).toMatchObject({ rule: 'module.mem-rd.present' });
      }
    }
    expect(host.page(SOURCE)[0x10]).toBe(0x11);
  });
});
