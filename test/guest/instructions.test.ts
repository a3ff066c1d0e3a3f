// What random programs do not reach: privileged instructions, transfers, and what the manual says of edges.
import { describe, expect, it } from 'vitest';
import type { CpuState } from '../../src/mock/guest/cpu/index.js';
import { runProgram } from './user-program.js';

const [RAX, RCX, RDX, RBX, RSP, RSI, RDI] = [0, 1, 2, 3, 4, 6, 7] as const;
const DATA = 0xc000;
const EXIT = { kind: 'io', port: 0x70 };
const vector = (n: number) => ({ kind: 'io', port: 0x80 + n });
const kernel = { kernel: true };
const gpr = (state: CpuState, n: number): bigint => state.gprs[n] as bigint;

describe('moves', () => {
  it('a 32-bit result clears the upper half, a 16-bit one keeps it', () => {
    const { state } = runProgram([0x31, 0xc0, 0x66, 0x31, 0xc9], { [RAX]: -1n, [RCX]: -1n });
    expect([gpr(state, RAX), gpr(state, RCX)]).toEqual([0n, 0xffff_ffff_ffff_0000n]);
  });

  it('RIP-relative operands count from the next instruction', () => {
    const { state } = runProgram([0x48, 0x8d, 0x05, 0x10, 0, 0, 0]); // lea rax, [rip + 0x10]
    expect(gpr(state, RAX)).toBe(0xa017n);
  });

  it('an address modulo 2^64 is computed exactly', () => {
    const { state } = runProgram([0x48, 0x8d, 0x44, 0x4b, 0x05], { [RBX]: 1n << 63n, [RCX]: (1n << 62n) + 3n });
    expect(gpr(state, RAX)).toBe(11n); // rbx + 2 rcx + 5
  });

  it('FS has a base, which WRFSBASE sets where CR4 allows it', () => {
    expect(runProgram([0xf3, 0x48, 0x0f, 0xae, 0xd0]).event).toMatchObject(vector(6));
    const { state, event } = runProgram(
      [
        ...[0x0f, 0x20, 0xe0, 0x0d, 0, 0, 1, 0, 0x0f, 0x22, 0xe0], // CR4.FSGSBASE
        ...[0xf3, 0x48, 0x0f, 0xae, 0xd3, 0x64, 0x8b, 0x04, 0x25, 4, 0, 0, 0], // wrfsbase rbx; mov eax, fs:[4]
      ],
      { [RBX]: BigInt(DATA) },
      { kernel: true, data: [0, 0, 0, 0, 9] },
    );
    expect(event).toMatchObject(EXIT);
    expect(gpr(state, RAX)).toBe(9n);
  });
});

describe('memory', () => {
  it('a value across two pages is read and written whole', () => {
    const { state, memory } = runProgram(
      [0x48, 0x8b, 0x03, 0x48, 0xff, 0xc0, 0x48, 0x89, 0x03],
      { [RBX]: 0xcffcn },
      {
        data: [1, 2, 3, 4, 5, 6, 7, 8],
        at: 0xcffc,
      },
    );
    expect(gpr(state, RAX)).toBe(0x0807_0605_0403_0202n);
    expect([...memory.bytes.subarray(0xcffc, 0xd004)]).toEqual([2, 2, 3, 4, 5, 6, 7, 8]);
  });

  it('a write across the end of memory changes nothing', () => {
    const { memory, event, state } = runProgram([0x48, 0x89, 0x03], { [RBX]: 0xdffcn, [RAX]: -1n });
    expect(event).toMatchObject(vector(14));
    expect(state.cr2).toBe(0xe000n);
    expect([...memory.bytes.subarray(0xdffc, 0xe000)]).toEqual([0, 0, 0, 0]);
  });

  it('Accessed and Dirty are set by what is read and written', () => {
    const { memory } = runProgram([0x8b, 0x03, 0x89, 0x01], { [RBX]: 0xc000n, [RCX]: 0xd000n });
    expect([memory.bytes[0x9060], memory.bytes[0x9068]]).toEqual([0x27, 0x67]);
  });

  it('a program that writes its own page faults where it is read-only, and a supervisor without WP does not', () => {
    const write = [0xc6, 0x03, 0x90];
    expect(runProgram(write, { [RBX]: 0xa800n }).event).toMatchObject(vector(14));
    const off = [0x0f, 0x20, 0xc0, 0x25, 0xff, 0xff, 0xfe, 0xff, 0x0f, 0x22, 0xc0]; // CR0.WP
    expect(runProgram([...off, ...write], { [RBX]: 0xa800n }, kernel).event).toMatchObject(EXIT);
  });

  it('instructions that are overwritten are executed as they are then', () => {
    const off = [0x0f, 0x20, 0xc0, 0x25, 0xff, 0xff, 0xfe, 0xff, 0x0f, 0x22, 0xc0];
    // inc ecx; cmp ecx, 3; jae end; mov byte [rip - 9 + 1], 0xc2 (inc edx): the first instruction becomes another
    const loop = [0xff, 0xc1, 0xff, 0xc3, 0x83, 0xfb, 3, 0x73, 9, 0xc6, 0x05, 0xf1, 0xff, 0xff, 0xff, 0xc2, 0xeb, 0xee];
    const { state } = runProgram([...off, ...loop], {}, kernel);
    expect([gpr(state, RCX), gpr(state, RDX)]).toEqual([1n, 2n]);
  });

  it.each([
    ['an address that is not canonical raises #GP', [0x8b, 0x03], { [RBX]: 1n << 47n }, 13],
    ['and #SS where it is the stack’s', [0x58], { [RSP]: 1n << 47n }, 12],
    ['a page of the supervisor is not a program’s', [0x8b, 0x03], { [RBX]: 0x4000n }, 14],
  ])('%s', (_, code, gprs, expected) => {
    expect(runProgram(code, gprs).event).toMatchObject(vector(expected));
  });
});

describe('stack and transfers', () => {
  it('PUSHF and POPF: a program cannot change IOPL', () => {
    const { state } = runProgram([0x9c, 0x58, 0x25, 0xff, 0xcf, 0xff, 0xff, 0x50, 0x9d, 0xf9]);
    expect(state.flags & 0x3001).toBe(0x3001);
  });

  it('CALL and RET', () => {
    const { state, event } = runProgram([0xe8, 2, 0, 0, 0, 0xeb, 3, 0xff, 0xc0, 0xc3]);
    expect(event).toMatchObject(EXIT);
    expect([gpr(state, RAX), gpr(state, RSP)]).toEqual([1n, 0xd800n]);
  });

  it('LOOP counts RCX down; JRCXZ looks at it', () => {
    const { state } = runProgram([0xff, 0xc0, 0xe2, 0xfc, 0xe3, 2, 0xff, 0xc0], { [RCX]: 5n });
    expect([gpr(state, RAX), gpr(state, RCX)]).toEqual([5n, 0n]);
  });

  it('ENTER and LEAVE', () => {
    const { state } = runProgram([0xc8, 0x20, 0, 0, 0x48, 0x89, 0xe0, 0xc9], { 5: 7n });
    expect([gpr(state, RAX), gpr(state, RSP), gpr(state, 5)]).toEqual([0xd800n - 8n - 0x20n, 0xd800n, 7n]);
  });

  it('INT3 comes to its handler with the next instruction’s address', () => {
    const { memory, event } = runProgram([0xcc]);
    expect(event).toMatchObject(vector(3));
    expect(new DataView(memory.bytes.buffer).getBigUint64(0x8fd8, true)).toBe(0xa001n);
  });

  it('INT of a vector whose gate is the supervisor’s raises #GP with its number', () => {
    const { memory, event } = runProgram([0xcd, 14]);
    expect(event).toMatchObject(vector(13));
    expect(new DataView(memory.bytes.buffer).getBigUint64(0x8fd0, true)).toBe(BigInt(14 * 8 + 2));
  });

  it('a vector beyond the IDT raises #GP with its number', () => {
    expect(runProgram([0xcd, 0x80]).event).toMatchObject(vector(13));
  });

  it('IRETQ to less privilege: the stack and the segments are the program’s', () => {
    const frame = [0x1b, 0xd700, 0x3002, 0x23, 0xa040].flatMap((value) => [0x68, value & 0xff, value >> 8, 0, 0]);
    const { state, event } = runProgram([...frame, 0x48, 0xcf, ...new Array(0x40 - 27).fill(0x90)], {}, kernel);
    expect(event).toMatchObject(EXIT);
    expect([state.cpl, gpr(state, RSP), state.cs.selector]).toEqual([3, 0xd700n, 0x23]);
  });

  it('SYSCALL enters the supervisor where LSTAR says, SYSRET comes back to the program', () => {
    const setStar = [0xb9, 0x81, 0, 0, 0xc0, 0x31, 0xc0, 0xba, 0x08, 0, 0x10, 0, 0x0f, 0x30];
    const setLstar = [0xb9, 0x82, 0, 0, 0xc0, 0x31, 0xd2, 0xb8, 0x00, 0xa1, 0, 0, 0x0f, 0x30];
    const code = [...setStar, ...setLstar, 0x0f, 0x05, 0xe6, 0x70];
    const nops = new Array<number>(0x100 - code.length).fill(0x90);
    const handler = [0x8c, 0xcb, 0x8c, 0xd0, 0x48, 0x0f, 0x07]; // mov ebx, cs; mov eax, ss; sysretq
    const { state, event } = runProgram([...code, ...nops, ...handler], {}, kernel);
    expect(event).toMatchObject(EXIT);
    expect([gpr(state, RBX), gpr(state, RAX), gpr(state, RCX)]).toEqual([8n, 16n, 0xa01en]);
    expect([state.cpl, state.cs.selector, state.ss.selector, state.rip]).toEqual([3, 0x23, 0x1b, 0xa01en]);
  });
});

describe('privileged instructions', () => {
  it.each([
    ['HLT', [0xf4]],
    ['MOV from CR0', [0x0f, 0x20, 0xc0]],
    ['LGDT', [0x0f, 0x01, 0x13]],
    ['LTR', [0x0f, 0x00, 0xd8]],
    ['RDMSR', [0x0f, 0x32]],
    ['WBINVD', [0x0f, 0x09]],
    ['INVLPG', [0x0f, 0x01, 0x3b]],
    ['SWAPGS', [0x0f, 0x01, 0xf8]],
  ])('%s in a program raises #GP', (_, code) => {
    expect(runProgram(code, { [RBX]: BigInt(DATA) }).event).toMatchObject(vector(13));
  });

  it.each([
    ['CPUID', [0x0f, 0xa2], 'cpuid'],
    ['HLT', [0xf4], 'hlt'],
    ['XSETBV', [0x0f, 0x01, 0xd1], 'xsetbv'],
    ['INVD', [0x0f, 0x08], 'invd'],
    ['WBINVD', [0x0f, 0x09], 'wbinvd'],
    ['MONITOR', [0x0f, 0x01, 0xc8], 'monitor'],
    ['MWAIT', [0x0f, 0x01, 0xc9], 'mwait'],
    ['RDPMC', [0x0f, 0x33], 'rdpmc'],
    ['VMCALL', [0x0f, 0x01, 0xc1], 'vmcall'],
  ])('%s is an event', (_, code, name) => {
    expect(runProgram(code, {}, kernel).event).toEqual({ kind: 'instruction', name, length: code.length });
  });

  it('MSRs that are the processor’s own are answered, others are events', () => {
    const { state } = runProgram([0x0f, 0x30, 0x0f, 0x32], { [RCX]: 0xc000_0102n, [RAX]: 5n, [RDX]: 6n }, kernel);
    expect(state.msrs.get(0xc000_0102)).toBe(0x6_0000_0005n);
    expect(gpr(state, RDX)).toBe(6n);
    expect(runProgram([0x0f, 0x32], { [RCX]: 0xc000_0080n }, kernel).state.gprs[RAX]).toBe(0xd01n);
    expect(runProgram([0x0f, 0x30], { [RCX]: 0xc000_0080n }, kernel).event).toMatchObject({ name: 'wrmsr' });
    expect(runProgram([0x0f, 0x32], { [RCX]: 0x1bn }, kernel).event).toMatchObject({ name: 'rdmsr' });
  });

  it('OUTSB with REP says so; with a count of 0 it does nothing', () => {
    const code = [0xf3, 0x6e];
    expect(runProgram(code, { [RCX]: 1n, [RDX]: 0x402n }, kernel).event).toMatchObject({
      kind: 'io',
      port: 0x402,
      string: true,
      rep: true,
      write: true,
      size: 1,
    });
    expect(runProgram(code, { [RDX]: 0x402n }, kernel).event).toMatchObject(EXIT);
  });

  it('LTR marks the TSS busy, so that it cannot be loaded twice', () => {
    const { event, memory } = runProgram([0x0f, 0x00, 0xd8], { [RAX]: 0x28n }, kernel);
    expect(event).toMatchObject(vector(13)); // it is busy already
    expect(new DataView(memory.bytes.buffer).getBigUint64(0xd7d0, true)).toBe(0x28n);
  });

  it('CR0.NE and CR4.SMXE are not a TD’s to change: #GP; what TDX answers with #VE ends the run and says so', () => {
    const cr0 = (bits: number[]) => runProgram([0xb8, ...bits, 0x0f, 0x22, 0xc0], {}, kernel).event;
    const cr4 = (bits: number[]) => runProgram([0xb8, ...bits, 0x0f, 0x22, 0xe0], {}, kernel).event;
    expect(cr0([0x13, 0, 1, 0x80])).toMatchObject(vector(13));
    expect(cr0([0x33, 0, 1, 0xc0])).toMatchObject({ kind: 'stuck', why: expect.stringMatching(/caches off.*mov cr0/) });
    expect(cr4([0x60, 0x46, 0, 0])).toMatchObject(vector(13));
    expect(cr4([0x20, 0x06, 0, 0])).toMatchObject({ kind: 'stuck', why: expect.stringMatching(/MCE stays set/) });
  });

  it('RDTSC does not go back; RDRAND has numbers', () => {
    const code = [0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0, 0x48, 0x89, 0xc3];
    const { state } = runProgram([...code, ...code.slice(0, 9), 0x48, 0x0f, 0xc7, 0xf1]);
    expect(gpr(state, RAX)).toBeGreaterThanOrEqual(gpr(state, RBX));
    expect(state.flags & 1).toBe(1);
  });
});

describe('x87 and SSE state', () => {
  it('FNINIT, FLDCW and FNSTCW', () => {
    const { memory } = runProgram([0xdb, 0xe3, 0xd9, 0x3b, 0xd9, 0x2b, 0x9b, 0xd9, 0x7b, 4], { [RBX]: BigInt(DATA) });
    expect([...memory.bytes.subarray(DATA, DATA + 6)]).toEqual([0x7f, 3, 0, 0, 0x7f, 3]);
  });

  it('FXSAVE and FXRSTOR keep the XMM registers; an image that is not aligned raises #GP', () => {
    const { state, memory } = runProgram(
      [
        ...[0x66, 0x48, 0x0f, 0x6e, 0xc8, 0x0f, 0xae, 0x03], // movq xmm1, rax; fxsave [rbx]
        ...[0x0f, 0x57, 0xc9, 0x0f, 0xae, 0x0b, 0x66, 0x48, 0x0f, 0x7e, 0xca], // xorps xmm1; fxrstor; movq rdx, xmm1
      ],
      { [RAX]: 0x1122_3344_5566_7788n, [RBX]: BigInt(DATA) },
    );
    expect(gpr(state, RDX)).toBe(0x1122_3344_5566_7788n);
    expect(memory.bytes[DATA + 176]).toBe(0x88);
    expect(runProgram([0x0f, 0xae, 0x03], { [RBX]: BigInt(DATA + 8) }).event).toMatchObject(vector(13));
  });

  it('MXCSR has no reserved bits', () => {
    expect(runProgram([0x0f, 0xae, 0x13], { [RBX]: BigInt(DATA) }, { data: [0, 0, 1, 0] }).event).toMatchObject(
      vector(13),
    );
  });

  it('what computes with floating point is told by name', () => {
    const { event } = runProgram([0xf2, 0x0f, 0x58, 0xc1]);
    expect(event).toMatchObject({ kind: 'stuck', rip: 0xa000n, why: expect.stringMatching(/addsd xmm0,\s?xmm1/) });
    expect(event?.kind === 'stuck' && [...event.bytes.subarray(0, 4)]).toEqual([0xf2, 0x0f, 0x58, 0xc1]);
  });
});

describe('strings', () => {
  it('REP MOVSB that faults has its registers where it came to', () => {
    const { state, event } = runProgram([0xf3, 0xa4], { [RCX]: 64n, [RSI]: 0xc000n, [RDI]: 0xdff0n });
    expect(event).toMatchObject(vector(14));
    expect([gpr(state, RCX), gpr(state, RSI), gpr(state, RDI)]).toEqual([48n, 0xc010n, 0xe000n]);
  });

  it('more elements than are done at once are done all the same', () => {
    const { state, event } = runProgram([0xf3, 0xaa], { [RCX]: 0x1800n, [RDI]: 0xc000n, [RAX]: 7n });
    expect(event).toMatchObject(EXIT);
    expect([gpr(state, RCX), gpr(state, RDI)]).toEqual([0n, 0xd800n]);
  });
});
