// A case of the guest CPUID vectors as a TD whose guest brings about the case's state and executes CPUID itself.
import { decodeTdxStatus } from '../../src/kvm/status.js';
import type { GuestEngine } from '../../src/mock/guest/engine.js';
import type { EnterHost } from '../../src/mock/module/seamcall.js';
import { EXIT_REASON } from '../../src/mock/module/vmx.js';
import { loadPlatform } from '../../src/mock/platforms.js';
import { Host, SOURCE, TDH } from '../module/host.js';
import { type CpuidGuest, type CpuidNotes, cpuidGuest, cpuidNotes } from './cpuid-guest.js';

/** One line of guest_cpuid-*.jsonl: test/vectors/README.md. */
export interface GuestCpuidCase {
  id: number;
  profile: string;
  tdcx_pages: number;
  td_params: string;
  l2: number;
  xcr0?: string;
  xss?: string;
  x2apic_id?: number;
  td_ctls?: string;
  cr4: string;
  mode64: boolean;
  expect: {
    xsetbv?: string;
    wrmsr_xss?: string;
    tdg_vm_wr_td_ctls?: { status: string };
    entry_gprs: Record<string, string>;
    guest_cpuid: string[];
  };
}

const TD_CTLS = 0x1110_0003_0000_0017n;
/** The module's own: set behind the guest's back in the CR4 of the vectors, and clear in the one that the guest sees. */
const CR4_VMXE = 0x2000;
const EPTP_CONTROLS = 24;
const INITIAL_RCX = 0xc0_ffeen;

const numbers = (row: string): [number, number] => {
  const [leaf = '', subleaf = ''] = row.split(':');
  return [Number.parseInt(leaf, 16), Number.parseInt(subleaf, 16)];
};

const guestOf = (testCase: GuestCpuidCase): CpuidGuest => ({
  queries: testCase.expect.guest_cpuid.map(numbers),
  mode64: testCase.mode64,
  cr4: Number(testCase.cr4) & ~CR4_VMXE,
  xcr0: testCase.xcr0 === undefined ? undefined : BigInt(testCase.xcr0),
  xss: testCase.xss === undefined ? undefined : BigInt(testCase.xss),
  vmWrite: testCase.td_ctls === undefined ? undefined : { field: TD_CTLS, value: BigInt(testCase.td_ctls) },
});

/** Runs the case's guest in `engine`, which stays open. @returns what the guest kept. @throws Error for a guest that does not come to its end. */
export async function runCpuidGuest(
  engine: GuestEngine,
  version: string,
  testCase: GuestCpuidCase,
): Promise<CpuidNotes> {
  const shared: GuestEngine = {
    name: engine.name,
    description: engine.description,
    openTd: (space) => engine.openTd(space),
    close: () => {},
  };
  const host = new Host(version, { engine: async () => shared }, loadPlatform(testCase.profile));
  const params = new Uint8Array(1024);
  params.set(Buffer.from(testCase.td_params, 'hex'));
  const tdr = host.tdOf(params, testCase.tdcx_pages);
  const guest = guestOf(testCase);
  const levels = (params[EPTP_CONTROLS]! >> 3) & 7;
  for (const [gpa, bytes] of cpuidGuest(guest)) {
    for (let level = levels; level > 0; level--) {
      const span = 2 ** (12 + 9 * level);
      // Refused where the table is there already.
      host.call(TDH.MEM_SEPT_ADD, { rcx: BigInt(gpa - (gpa % span) + level), rdx: tdr, r8: host.fresh() });
    }
    host.page(SOURCE).set(bytes);
    host.add(tdr, BigInt(gpa));
  }
  const { x2apic_id: id, l2 } = testCase;
  const tdvpr = host.vcpu(tdr, INITIAL_RCX, id === undefined ? undefined : BigInt(id), l2);
  host.must(TDH.MR_FINALIZE, { rcx: tdr });
  const outside: EnterHost = {
    signal: AbortSignal.timeout(10_000),
    readShared: () => undefined,
    writeShared: () => false,
  };
  try {
    const exit = await host.module.vpEnter({ rcx: tdvpr }, outside);
    if ((exit.status & 0xffffn) !== BigInt(EXIT_REASON.TDCALL)) {
      throw new Error(`the guest ended in ${decodeTdxStatus(exit.status).text} ${exit.stuck?.why ?? ''}`);
    }
    const { guest: memory } = host.module.tds.get(Number(tdr))!;
    return cpuidNotes((gpa, length) => memory!.readPrivate(gpa, length), guest.queries.length);
  } finally {
    await host.module.close();
  }
}

const hex = (n: number, digits = 0): string => n.toString(16).padStart(digits, '0');
const exception = (vector: number): string => (vector === 0 ? 'ok' : `exc${vector}`);
const named = (registers: Record<string, string>): string[] =>
  Object.entries(registers).map(([name, value]) => `${name} ${value}`);

function rowText(row: CpuidNotes['rows'][number]): string {
  if (!('ve' in row)) return row.map((value) => hex(value, 8)).join(',');
  return row.ve === EXIT_REASON.CPUID ? 've' : `#VE of exit reason ${row.ve}`;
}

/** What a guest sees otherwise than its case says, a sentence each; of every field the first place. */
export function differences(testCase: GuestCpuidCase, notes: CpuidNotes): string[] {
  const { xsetbv, wrmsr_xss, tdg_vm_wr_td_ctls: written, entry_gprs, guest_cpuid } = testCase.expect;
  if (notes.cr4 !== 0) return [`CR4 ${testCase.cr4} is refused with exception ${notes.cr4}`];
  if (!notes.done) return ['the guest did not come to its end'];
  const { queries } = guestOf(testCase);
  const found: string[] = [];
  const compare = (name: string, expected: readonly string[], got: readonly string[]): void => {
    const at = expected.findIndex((value, i) => value !== got[i]);
    if (at >= 0) found.push(`${name}: expected ${expected[at]}, found ${got[at]}`);
  };
  const entry = Object.keys(entry_gprs).map((name) => [
    name,
    `0x${(notes.entry as Record<string, bigint>)[name]?.toString(16)}`,
  ]);
  compare('entry_gprs', named(entry_gprs), named(Object.fromEntries(entry)));
  if (xsetbv !== undefined) compare('xsetbv', [xsetbv], [exception(notes.xsetbv)]);
  if (wrmsr_xss !== undefined) compare('wrmsr_xss', [wrmsr_xss], [exception(notes.wrmsr)]);
  if (written) compare('tdg_vm_wr_td_ctls', [written.status], [`0x${notes.vmWrite.toString(16).padStart(16, '0')}`]);
  const rows = notes.rows.map((row, n) => `${hex(queries[n]![0])}:${hex(queries[n]![1])}:${rowText(row)}`);
  compare('guest_cpuid', guest_cpuid, rows);
  return found;
}
