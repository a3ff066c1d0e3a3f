import { TDX_STATUS } from '../../kvm/status.js';
import { demand, Refusal } from './refusal.js';
import type { Td } from './td.js';
import type { TdxCmd } from './user.js';

const STATUS_MASK = 0xffff_ffff_0000_0000n;

/** tdx_operand_busy(). */
export const isOperandBusy = (status: bigint): boolean => (status & STATUS_MASK) === TDX_STATUS.TDX_OPERAND_BUSY;

/** KVM_TDX_FINALIZE_VM (tdx_td_finalize): ends the measurement. flags and data are not looked at. */
export function tdxTdFinalize(td: Td, cmd: TdxCmd): void {
  demand(td.hkid !== undefined && td.state !== 'runnable', 'kvm.finalize.td-state');
  demand(td.nrPremapped === 0, 'kvm.finalize.premapped');
  const { status, rule } = td.seamcalls.mrFinalize(td.tdr);
  cmd.hwError = status;
  if (isOperandBusy(status)) throw new Refusal('kvm.finalize.busy', 'EBUSY', rule);
  if (td.vm.bugOn(status !== 0n)) throw new Refusal('kvm.finalize.module', 'EIO', rule);
  td.state = 'runnable';
}
