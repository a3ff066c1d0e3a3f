import { describe, expect, it } from 'vitest';
import { isX2apic, VirtualApic, writeX2apic, X2APIC } from '../../src/mock/module/virtual-apic.js';

const PPR = 0x0a;
const ISR = 0x10;
const IRR = 0x20;

/** An APIC with these interrupts in service, in the order in which they were delivered. */
function serving(...vectors: number[]): VirtualApic {
  const apic = new VirtualApic();
  for (const vector of vectors) {
    apic.request(vector);
    apic.deliver(apic.pending!);
  }
  return apic;
}

describe('The virtual-APIC page', () => {
  it('keeps requests in IRR, by bit of the vector, and delivers the highest first', () => {
    const apic = new VirtualApic();
    for (const vector of [0x31, 0x9f, 0x80]) apic.request(vector);
    expect([apic.read(IRR + 1), apic.read(IRR + 4)]).toEqual([1 << 17, 0x8000_0001]);
    expect(apic.pending).toBe(0x9f);
    apic.deliver(0x9f);
    expect([apic.read(IRR + 4), apic.read(ISR + 4), apic.read(PPR)]).toEqual([1, 0x8000_0000, 0x90]);
  });

  it.each([
    ['a higher class', 0x41, 0x41],
    ['the same class', 0x3f, undefined],
    ['a lower class', 0x2f, undefined],
    ['one of the processor’s own vectors', 0x0f, undefined],
  ])('while vector 0x31 is in service, %s', (_, vector, pending) => {
    const apic = serving(0x31);
    apic.request(vector);
    expect(apic.pending).toBe(pending);
  });

  it('one request of a vector waits while it is in service, a second one finds it there', () => {
    const apic = serving(0x40);
    apic.request(0x40);
    apic.request(0x40);
    apic.endOfInterrupt();
    expect(apic.pending).toBe(0x40);
    apic.deliver(0x40);
    apic.endOfInterrupt();
    expect(apic.pending).toBeUndefined();
  });

  it('EOI ends the highest interrupt in service, and the priority falls back to the one below', () => {
    const apic = serving(0x31, 0x52, 0xe0);
    expect(apic.read(PPR)).toBe(0xe0);
    const priorities = [0, 0, 0, 0].map(() => {
      apic.endOfInterrupt();
      return apic.read(PPR);
    });
    expect(priorities).toEqual([0x50, 0x30, 0, 0]);
  });

  it.each([
    [0x2f, 0x2f, 0x30],
    [0x30, 0x30, undefined],
    [0xff, 0xff, undefined],
  ])('with a task priority of %i PPR is %i', (tpr, ppr, pending) => {
    const apic = new VirtualApic();
    apic.request(0x30);
    apic.taskPriority = tpr;
    expect([apic.read(8), apic.read(PPR), apic.pending]).toEqual([tpr, ppr, pending]);
    apic.taskPriority = 0;
    expect(apic.pending).toBe(0x30);
  });

  it('PPR is the task priority where its class is the one in service', () => {
    const apic = serving(0x35);
    apic.taskPriority = 0x38;
    expect(apic.read(PPR)).toBe(0x38);
    apic.taskPriority = 0x2a;
    expect(apic.read(PPR)).toBe(0x30);
  });
});

describe('WRMSR of the x2APIC in a TD', () => {
  it('of SELF_IPI requests an interrupt; one of the processor’s own vectors is none', () => {
    const apic = new VirtualApic();
    expect([writeX2apic(apic, X2APIC.SELF_IPI, 0x20n), writeX2apic(apic, X2APIC.SELF_IPI, 5n)]).toEqual([true, true]);
    expect([apic.read(IRR), apic.read(IRR + 1)]).toEqual([0, 1]);
  });

  it.each([
    ['TPR above 255', X2APIC.TPR, 0x100n],
    ['EOI other than 0', X2APIC.EOI, 1n],
    ['SELF_IPI with reserved bits', X2APIC.SELF_IPI, 1n << 32n],
    ['PPR, which is read-only', 0x80a, 0n],
    ['ISR, which is read-only', 0x810, 0n],
  ])('refuses %s', (_, msr, value) => {
    const apic = serving(0x40);
    expect(isX2apic(msr)).toBe(true);
    expect(writeX2apic(apic, msr, value)).toBe(false);
    expect([apic.read(8), apic.read(PPR)]).toEqual([0, 0x40]);
  });
});
