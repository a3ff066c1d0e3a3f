import type { EngineVcpu } from '../guest/engine.js';
import { GPR } from './gpr.js';
import type { Vcpu } from './td.js';

// What the host of a TD with ATTRIBUTES.DEBUG reads and writes with TDH.VP.RD and TDH.VP.WR while the VCPU is outside.

/** VMCS encodings (Intel SDM volume 3, appendix B). */
const VMCS = { EFER: 0x2806, CR0: 0x6800, CR3: 0x6802, CR4: 0x6804, RSP: 0x681c, RIP: 0x681e, RFLAGS: 0x6820 } as const;

const DEBUG = 1n;
const isDebug = ({ td }: Vcpu): boolean => (td.configuration!.attributes & DEBUG) !== 0n;

/** Registers as the guest left them. */
export function leaveState(vcpu: Vcpu, cpu: EngineVcpu): void {
  vcpu.gprs.set(cpu.gprs);
  if (!isDebug(vcpu)) return;
  const { cr0, cr3, cr4, efer } = cpu.mode;
  const state: [number, bigint][] = [
    [VMCS.RSP, cpu.gprs[GPR.RSP]!],
    [VMCS.RIP, cpu.rip],
    [VMCS.RFLAGS, cpu.rflags],
    [VMCS.CR0, cr0],
    [VMCS.CR3, cr3],
    [VMCS.CR4, cr4],
    [VMCS.EFER, efer],
  ];
  for (const [code, value] of state) vcpu.fields.set(code, value);
}

/** Registers for the guest: as it left them, or as a debugger changed them. Control registers are the engine's own. */
export function enterState(vcpu: Vcpu, cpu: EngineVcpu): void {
  cpu.gprs.set(vcpu.gprs);
  if (!isDebug(vcpu)) return;
  cpu.gprs[GPR.RSP] = vcpu.fields.get(VMCS.RSP) ?? cpu.gprs[GPR.RSP]!;
  cpu.rip = vcpu.fields.get(VMCS.RIP) ?? cpu.rip;
  cpu.rflags = vcpu.fields.get(VMCS.RFLAGS) ?? cpu.rflags;
}
