import { afterEach, describe, expect, it } from 'vitest';
import { TDX_STATUS, tdxStatus } from '../../src/kvm/status.js';
import { TDH } from '../../src/mock/module/seamcall.js';
import { type Exit, out, type Scripted, scriptedTd } from './scripted-guest.js';

let td: Scripted | undefined;
afterEach(() => td?.close());

const exitOf = (exit: Exit) => {
  td = scriptedTd(function* () {
    yield exit;
    yield out(0xf4, 0);
  });
  return td.vcpu.run();
};

describe('what TDH.VP.ENTER returns', () => {
  it('a triple fault is KVM_EXIT_SHUTDOWN, although the vCPU is lost', async () => {
    expect(await exitOf({ status: tdxStatus('TDX_NON_RECOVERABLE_VCPU', 2) })).toEqual({ reason: 'shutdown' });
  });

  it.each([
    ['an error before the guest was entered', TDX_STATUS.TDX_VCPU_STATE_INCORRECT],
    ['a TD that cannot go on', tdxStatus('TDX_NON_RECOVERABLE_TD', 0x21)],
    ['an exit reason that KVM does not handle', 54n],
  ])('%s is KVM_EXIT_INTERNAL_ERROR with the status', async (_, status) => {
    expect(await exitOf({ status })).toEqual({ reason: 'internal-error', suberror: 4, data: [status, 0n] });
  });

  it('a failed VM entry is KVM_EXIT_FAIL_ENTRY with its exit reason', async () => {
    const status = tdxStatus('TDX_NON_RECOVERABLE_VCPU', 0x8000_0021);
    const exit = { reason: 'fail-entry', hardwareEntryFailureReason: 0x8000_0021n, cpu: 0 };
    expect(await exitOf({ status })).toEqual(exit);
  });

  it('an EPT misconfiguration kills the VM: EIO', async () => {
    await expect(exitOf({ status: 49n })).rejects.toMatchObject({ code: 'EIO', rule: 'kvm.run.ept-misconfig' });
    await expect(td!.vcpu.run()).rejects.toMatchObject({ code: 'EIO', rule: 'kvm.vm-dead' });
  });

  it.each([
    ['an interrupt of the host', { status: 1n }],
    ['an SMI', { status: 6n }],
    ['an NMI of the host', { status: 0n, r9: 0x8000_0202n }],
    ['a machine check, which the host handles', { status: 0n, r9: 0x8000_0312n }],
    ['a busy operand', { status: 0x8000_0200_0000_0080n }],
  ])('%s is none of the guest’s business: it is entered again', async (_, exit) => {
    expect(await exitOf(exit)).toMatchObject({ reason: 'io', port: 0xf4 });
    expect(td!.trace.filter(({ leaf }) => leaf === TDH.VP_ENTER)).toHaveLength(2);
  });

  it('another exception is KVM_EXIT_EXCEPTION', async () => {
    expect(await exitOf({ status: 0n, r9: 0x8000_0301n })).toEqual({ reason: 'unknown', exitReason: 1 });
  });

  it('an engine that is stuck is KVM_EXIT_INTERNAL_ERROR, emulation failed, and says at which instruction', async () => {
    const stuck = { why: 'no such instruction: vaddps', rip: 0x1000n, bytes: Uint8Array.of(0xc5, 0xf4, 0x58) };
    expect(await exitOf({ status: tdxStatus('TDX_NON_RECOVERABLE_VCPU', 33), stuck })).toEqual({
      reason: 'internal-error',
      suberror: 1,
      data: [],
      detail: 'no such instruction: vaddps; RIP 0x1000, bytes c5 f4 58',
    });
  });
});
