import { tdxStatus } from '../../kvm/status.js';
import type { TdxCapabilities } from '../../kvm/vm.js';
import type { ModuleBoot } from '../module/boot.js';
import type { InitTd } from '../module/module-state.js';
import type { CpuidConfig } from './tdx-host.js';

const CPUID_CONFIG = 256;
const REGISTERS = ['eax', 'ebx', 'ecx', 'edx'] as const;

/** Bits that KVM hides or lends in KVM_TDX_CAPABILITIES: about them the module's own rules decide. */
const LEFT_TO_RULES: Readonly<Record<string, Partial<Record<(typeof REGISTERS)[number], number>>>> = {
  /** HLE, RTM; WAITPKG. */
  '7.0': { ebx: (1 << 4) | (1 << 11), ecx: 1 << 5 },
  /** The guest physical address width stands for the GPAW. */
  '2147483656.0': { eax: 0x00ff_0000 },
};

/**
 * CPUID_CONFIG as a captured host listed it, in that host's order. Leaves that the rules document does not know keep
 * their place behind its own, so that TD_PARAMS has room for them.
 */
export function capturedConfig(boot: ModuleBoot, { cpuid }: TdxCapabilities): CpuidConfig[] {
  const known = boot.sysInfo.cpuidConfig;
  let next = known.length;
  return cpuid.map(({ function: leaf, index, eax, ebx, ecx, edx }) => {
    const slot = known.findIndex((row) => row.leaf === leaf && (row.subleaf ?? 0) === index);
    const subleaf = slot < 0 ? index : known[slot]!.subleaf;
    return { leaf, subleaf, eax, ebx, ecx, edx, slot: slot < 0 ? next++ : slot };
  });
}

/**
 * TDH.MNG.INIT of a module of which a captured host told more than the rules document does: a bit is configurable where
 * the host said so, and everything else is as the rules have it.
 */
export function capturedInitTd(initTd: InitTd, boot: ModuleBoot, capabilities: TdxCapabilities): InitTd {
  const rows = capturedConfig(boot, capabilities).map((row) => ({ row, rules: boot.sysInfo.cpuidConfig[row.slot!] }));
  return (tdParams, tdcxPages) => {
    const params = tdParams.slice();
    const view = new DataView(params.buffer);
    const extra: {
      leaf: number;
      subleaf: number | null;
      register: (typeof REGISTERS)[number];
      bits: number;
      mask: number;
    }[] = [];
    for (const { row, rules } of rows) {
      for (const [i, register] of REGISTERS.entries()) {
        const at = CPUID_CONFIG + 16 * row.slot! + 4 * i;
        const left = LEFT_TO_RULES[`${row.leaf}.${row.subleaf ?? 0}`]?.[register] ?? 0;
        const value = view.getUint32(at, true);
        if ((value & ~row[register] & ~left) !== 0) return refused(row);
        const mask = row[register] & ~(rules?.[register] ?? 0) & ~left;
        view.setUint32(at, value & ~mask, true);
        if (mask !== 0) extra.push({ leaf: row.leaf, subleaf: row.subleaf, register, bits: value & mask, mask });
      }
    }
    const result = initTd(params, tdcxPages);
    if (!result.td || extra.length === 0) return result;
    const cpuid = result.td.cpuid.map((found) => ({ ...found }));
    for (const { leaf, subleaf, register, bits, mask } of extra) {
      const found = cpuid.find((candidate) => candidate.leaf === leaf && candidate.subleaf === subleaf);
      if (found) found[register] = ((found[register] & ~mask) | bits) >>> 0;
    }
    return { ...result, td: { ...result.td, cpuid } };
  };
}

const refused = ({ leaf, subleaf }: CpuidConfig) => ({
  status: tdxStatus('TDX_OPERAND_INVALID', 69),
  rcx: BigInt(leaf) | (BigInt(subleaf ?? 0xffff_ffff) << 32n),
  rule: 'module.mng-init.cpuid-config' as const,
});
