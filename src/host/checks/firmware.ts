import { type Check, fail, type Outcome, pass, skip } from '../check.js';
import { maybeIntel } from '../cpuinfo.js';
import { recognise } from '../messages.js';
import type { HostReaders } from '../readers.js';

const IA32_TME_ACTIVATE = 0x982;
const IA32_MKTME_KEYID_PARTITIONING = 0x87;
const IA32_SEAMRR_PHYS_MASK = 0x1401;
const MCHECK_STATUS = 0xa0;

const bit = (value: bigint, n: bigint) => (value >> n) & 1n;
const hex = (value: bigint) => `0x${value.toString(16)}`;

/** Reads a register and judges it; a register that cannot be read is a skip that says what would make it readable. */
function judgeMsr(readers: HostReaders, index: number, judge: (value: bigint) => Outcome): Outcome {
  if (!maybeIntel(readers)) return skip('not an Intel processor');
  const value = readers.msr(index);
  if (value.ok) return judge(value.value);
  const name = `MSR 0x${index.toString(16)}`;
  if (value.code === 'EIO') return fail(`${name}: the processor has no such register, or hides it`);
  const how = value.code === 'ENOENT' ? 'load the msr driver: modprobe msr' : 'run as root';
  return skip(`${name} is not readable (${value.reason}); ${how}`);
}

export const FIRMWARE_CHECKS: readonly Check[] = [
  {
    id: 'firmware.tme',
    name: 'Memory encryption (TME) on',
    category: 'firmware',
    fix: 'In the firmware setup, enable "Memory Encryption (TME)" and "TME-MT".',
    source: 'IA32_TME_ACTIVATE (0x982) bit 1',
    run: (readers) =>
      judgeMsr(readers, IA32_TME_ACTIVATE, (v) =>
        bit(v, 1n) ? pass(`IA32_TME_ACTIVATE = ${hex(v)}`) : fail(`IA32_TME_ACTIVATE = ${hex(v)}, bit 1 is clear`),
      ),
  },
  {
    id: 'firmware.keyids',
    name: 'Private KeyIDs for TDX',
    category: 'firmware',
    fix: 'In the firmware setup, enable TDX and give it at least two KeyIDs ("TME-MT/TDX key split").',
    source: 'IA32_MKTME_KEYID_PARTITIONING (0x87) bits 63:32; arch/x86/virt/vmx/tdx/tdx.c: tdx_init',
    run: (readers) => {
      const judge = (keyids: number, where: string): Outcome => {
        if (keyids >= 2) return pass(`${keyids}, one of them the module's: ${keyids - 1} TDs at a time (${where})`);
        return fail(`${keyids}, and TDX needs two (${where})`);
      };
      const fromMsr = judgeMsr(readers, IA32_MKTME_KEYID_PARTITIONING, (v) => judge(Number(v >> 32n), 'MSR 0x87'));
      if (fromMsr.status !== 'skip') return fromMsr;
      const log = readers.kernelLog();
      const line = log.ok ? recognise(log.value).findLast(({ message }) => message.id === 'bios-enabled') : undefined;
      const range = line?.message.pattern.exec(line.line);
      return range ? judge(Number(range[2]) - Number(range[1]), 'kernel log') : fromMsr;
    },
  },
  {
    id: 'firmware.seamrr',
    name: 'SEAM memory range set up',
    category: 'firmware',
    fix: 'In the firmware setup, enable "Trust Domain Extension (TDX)" and "TDX SEAM Loader"; update the firmware if it has neither.',
    source: 'IA32_SEAMRR_PHYS_MASK (0x1401) bit 11',
    run: (readers) =>
      judgeMsr(readers, IA32_SEAMRR_PHYS_MASK, (v) =>
        bit(v, 11n)
          ? pass(`IA32_SEAMRR_PHYS_MASK = ${hex(v)}`)
          : fail(`IA32_SEAMRR_PHYS_MASK = ${hex(v)}, bit 11 is clear`),
      ),
  },
  {
    id: 'firmware.mcheck',
    name: 'Firmware check (MCHECK) passed',
    category: 'firmware',
    fix: 'Update the firmware and the microcode, reset the firmware setup to its defaults and enable TDX again.',
    source: 'MSR 0xa0: 0, or the error of MCHECK',
    run: (readers) =>
      judgeMsr(readers, MCHECK_STATUS, (v) => (v === 0n ? pass('MSR 0xa0 = 0') : fail(`MSR 0xa0 = ${hex(v)}`))),
  },
];
