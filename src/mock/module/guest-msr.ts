import { INITIAL_STATE } from '../guest/initial-state.js';
import { advance } from './advance.js';
import type { ModuleFacts, ModuleFeatures } from './facts.js';
import { MSRS, VE_REDUCTION_MSRS } from './fields-msr.js';
import { GPR, joined, LOW_32 } from './gpr.js';
import type { Guest } from './guest-context.js';
import { type GuestFeature, hasFeature, isGuestFeature, reducesVe } from './guest-features.js';
import { ownRead, ownWrite } from './guest-msr-own.js';
import { injectGp, injectVe } from './guest-ve.js';
import type { Td } from './td.js';
import { isX2apic, writeX2apic } from './virtual-apic.js';
import { EXIT_REASON } from './vmx.js';

/** What an access to an MSR does in a TD. */
export type MsrAction = 'native' | 've' | 'gp' | 'own';

interface MsrRow {
  first: number;
  last: number;
  read: string;
  write: string;
  name: string;
}

const tables = new Map<string, MsrRow[]>();

function rowsOf(text: string): MsrRow[] {
  let rows = tables.get(text);
  if (!rows) {
    rows = text
      .trim()
      .split('\n')
      .map((line) => {
        const [first = '', last = '', read = '', write = '', ...name] = line.split(' ');
        return {
          first: Number.parseInt(first, 16),
          last: Number.parseInt(last, 16),
          read,
          write,
          name: name.join(' '),
        };
      });
    tables.set(text, rows);
  }
  return rows;
}

function find(index: number, { veReduction }: ModuleFeatures): MsrRow | undefined {
  const covers = ({ first, last }: MsrRow): boolean => index >= first && index <= last;
  return (veReduction ? rowsOf(VE_REDUCTION_MSRS).find(covers) : undefined) ?? rowsOf(MSRS).find(covers);
}

const PERF_METRICS = 0x329;
const X2APIC_APICID = 0x802;

type MsrFacts = Pick<ModuleFacts, 'features' | 'perfMetrics'>;

/** What RDMSR or WRMSR of `index` does in this TD (td_msr_access.c rd_wr_msr_generic_case, is_msr_dynamic_bit_cleared). */
export function msrAction(td: Td, index: number, write: boolean, { features, perfMetrics }: MsrFacts): MsrAction {
  const row = find(index, features);
  const hostsOrNobodys: MsrAction = reducesVe(td) ? 'gp' : 've';
  // Access to MSRs outside the bitmaps is always the host's business.
  if (!row) return isInBitmaps(index) ? hostsOrNobodys : 've';
  // The x2APIC id came with TDX_FEATURES0.TOPOLOGY_ENUM.
  if (index === X2APIC_APICID && features.vpInitVersion === 0) return 've';
  const rule = write ? row.write : row.read;
  const [head = '', tail] = rule.split(':');
  if (head === 'reduced') return hostsOrNobodys;
  const has = (feature: GuestFeature): boolean => hasFeature(td, feature);
  if (head === 've-with') return has(tail as GuestFeature) ? 've' : 'gp';
  const more = index === PERF_METRICS ? perfMetrics : has('pt');
  if (head === 'perfmon-and') return has('perfmon') && more ? 'native' : ((tail as MsrAction | undefined) ?? 'gp');
  if (isGuestFeature(head)) return has(head) ? 'native' : ((tail as MsrAction | undefined) ?? 'gp');
  return head as MsrAction;
}

const BITMAP = 0x2000;
const HIGH_MSRS = 0xc000_0000;
const isInBitmaps = (index: number): boolean => index < BITMAP || (index >= HIGH_MSRS && index < HIGH_MSRS + BITMAP);

/** RDMSR and WRMSR, ECX the index, EDX:EAX the value. */
export function msr(guest: Guest, write: boolean, length: number): undefined {
  const { cpu, td, state } = guest;
  const { gprs } = cpu;
  const index = Number(gprs[GPR.RCX]! & LOW_32);
  let action = msrAction(td, index, write, state.facts);
  const value = joined(gprs[GPR.RDX]!, gprs[GPR.RAX]!);
  if (action === 'own' || action === 'native') {
    const access = action === 'own' ? (write ? ownWrite : ownRead) : write ? nativeWrite : nativeRead;
    const result = access(guest, index, value);
    if (typeof result !== 'string') {
      if (result !== undefined) {
        gprs[GPR.RAX] = result & LOW_32;
        gprs[GPR.RDX] = result >> 32n;
      }
      advance(guest, length);
      return;
    }
    action = result;
  }
  if (action === 'gp') injectGp(guest, write ? 'module.msr.write-gp' : 'module.msr.read-gp');
  else
    injectVe(guest, write ? 'module.msr.write-ve' : 'module.msr.read-ve', {
      exitReason: write ? EXIT_REASON.WRMSR : EXIT_REASON.RDMSR,
      instructionLength: length,
    });
}

const MSR = { TSC: 0x10, PAT: 0x277, XSS: 0xda0, EFER: 0xc000_0080 } as const;

/** MSRs that a processor answers in a TD; here only those that its engine does not have. */
function nativeRead({ cpu, vcpu, memory }: Guest, index: number): bigint {
  if (index === MSR.TSC) return memory.tsc();
  if (isX2apic(index)) return BigInt(vcpu.apic.read(index & 0xff));
  if (index === MSR.EFER) return cpu.mode.efer;
  if (index === MSR.XSS) return vcpu.xss;
  return vcpu.msrs.get(index) ?? (index === MSR.PAT ? INITIAL_STATE.pat : 0n);
}

function nativeWrite({ vcpu }: Guest, index: number, value: bigint): undefined | 'gp' {
  if (isX2apic(index)) return writeX2apic(vcpu.apic, index, value) ? undefined : 'gp';
  vcpu.msrs.set(index, value);
}
