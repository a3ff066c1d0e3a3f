import type { IoExit } from '../../../kvm/exits.js';
import type { Handled } from './handled.js';
import { refuseCall } from './refuse-call.js';
import { fromBytes, toBytes } from './registers.js';
import type { TdRun } from './td-run.js';

/** What a read gives when nobody answers. */
const EMPTY_BUS = 0xff;

const completeOut = (): Handled => 'enter';

/** tdx_emulate_io(): R12 bytes per access, R13 1 for a write, R14 the port, R15 what is written. KVM has no device of its own. */
export function emulateIo(run: TdRun): Handled {
  const { r12: size, r13: write, r14, r15 } = run.regs;
  if (write > 1n || (size !== 1n && size !== 2n && size !== 4n)) return refuseCall(run, 'kvm.tdvmcall.io');
  const bytes = Number(size);
  const access = { reason: 'io', size: bytes, port: Number(r14 & 0xffffn), count: 1 } as const;
  if (write) {
    const exit: IoExit = { ...access, direction: 'out', data: toBytes(r15, bytes) };
    return { exit, complete: completeOut };
  }
  return {
    exit: { ...access, direction: 'in', data: new Uint8Array(0) },
    takes: { kind: 'data', length: bytes },
    complete: ({ data }) => {
      run.regs.r11 = fromBytes(data ?? new Uint8Array(bytes).fill(EMPTY_BUS));
      return 'enter';
    },
  };
}
