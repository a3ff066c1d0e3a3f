// KVM's emulator gave up: on TDCALL, which is how it reaches us; on code that KVM does not see yet; on an instruction that it
// does not know, which is then stepped in software.
import { EptViolation, GuestFault } from '../cpu/index.js';
import type { GuestEvent, TrappedInstruction } from '../engine.js';
import { codeAddress, decodeAt, MAX_INSN } from './code.js';
import { stepInSoftware } from './step.js';
import type { Answer, KvmEngineVcpu } from './vcpu.js';

const TDCALL = [0x66, 0x0f, 0x01, 0xcc];

const TRAPPED: Readonly<Record<string, TrappedInstruction>> = {
  Cpuid: 'cpuid',
  Hlt: 'hlt',
  Rdmsr: 'rdmsr',
  Wrmsr: 'wrmsr',
  Xsetbv: 'xsetbv',
  Invd: 'invd',
  Wbinvd: 'wbinvd',
  Monitor: 'monitor',
  Mwait: 'mwait',
  Rdpmc: 'rdpmc',
  Vmcall: 'vmcall',
};

export function emulationFailed(vcpu: KvmEngineVcpu): Answer {
  vcpu.pull();
  const { state, td } = vcpu;
  const fetched = fetchCode(vcpu);
  if (!(fetched instanceof Uint8Array)) return fetched;
  if (TDCALL.every((byte, i) => fetched[i] === byte)) return { event: { kind: 'tdcall', length: TDCALL.length } };
  // Another vCPU's pages came or went while this one ran: what KVM saw then may be past.
  if (vcpu.generation !== td.memory.generation) return {};
  const insn = decodeAt(state, fetched, state.ip);
  if (typeof insn === 'string') return { event: vcpu.stuck('KVM cannot emulate what is no instruction') };
  if (insn.name === 'Tdcall') return { event: { kind: 'tdcall', length: insn.length } };
  const name = TRAPPED[insn.name];
  if (name !== undefined) return { event: { kind: 'instruction', name, length: insn.length } };
  const event = stepInSoftware(vcpu);
  if (event !== undefined) return { event };
  vcpu.push();
  return {};
}

/** The instruction's bytes, once KVM can fetch them too; otherwise what to do instead. */
function fetchCode(vcpu: KvmEngineVcpu): Uint8Array | Answer {
  const { state, td } = vcpu;
  const { memory, software, observer } = td;
  const start = codeAddress(state);
  const bytes = observer.bytes(state, start, MAX_INSN);
  const whole = bytes.length > 0 && typeof decodeAt(state, bytes, state.ip) !== 'string';
  // The page of the first byte, and the next one if the instruction reaches into it.
  for (const linear of whole ? [start] : [start, start + bytes.length]) {
    let gpa: number;
    try {
      gpa = observer.gpa(state, linear, 'execute');
    } catch (error) {
      if (error instanceof GuestFault)
        return { event: vcpu.stuck('KVM cannot fetch an instruction from a page that is not there') };
      if (!(error instanceof EptViolation)) throw error;
      return { event: executeViolation(error.gpa, error.gla, 'read') };
    }
    if (software.isShared(gpa) || !memory.isMapped(gpa)) {
      return { event: executeViolation(gpa, BigInt.asUintN(64, BigInt(linear)), 'execute') };
    }
    if (memory.touch(gpa)) return {};
  }
  return bytes;
}

const executeViolation = (gpa: number, gla: bigint, access: 'read' | 'execute'): GuestEvent => ({
  kind: 'ept-violation',
  gpa,
  gla,
  access,
  length: 0,
});
