import { GPR } from './gpr.js';
import type { Guest } from './guest-context.js';
import { checkAligned, operand } from './guest-operand.js';
import { refuse } from './refusal.js';
import { rememberReport, tdReport } from './td-report.js';

const REPORT = 1024;
const DATA = 64;

/** TDG.MR.REPORT: a TDREPORT_STRUCT. RCX: its GPA, RDX: GPA of 64 bytes to report, R8: subtype, 0 (tdg_mr_report.c). */
export function tdgMrReport(guest: Guest): undefined {
  const { cpu, module, state, td } = guest;
  const report = cpu.gprs[GPR.RCX]!;
  const data = cpu.gprs[GPR.RDX]!;
  checkAligned(report, REPORT, 'RCX');
  checkAligned(data, DATA, 'RDX');
  const reportData = operand(guest, data, 'RDX', { shared: true }).read(DATA);
  if (cpu.gprs[GPR.R8] !== 0n) throw refuse('module.report.subtype', 'R8');
  const bytes = tdReport(module, td, reportData);
  operand(guest, report, 'RCX', { shared: true, write: true }).write(bytes);
  rememberReport(state, bytes);
}
