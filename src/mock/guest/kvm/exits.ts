import type { IoExit, MmioExit, RdmsrExit, VcpuExit, WrmsrExit } from '../../../kvm/index.js';
import { codeAddress, decodeAt, operandAddress, writesBesides } from './code.js';
import { completedOut, completedWrite } from './completed.js';
import { emulationFailed } from './emulation.js';
import { isPatchPort, patchedAt, writeLength } from './patches.js';
import type { Answer, KvmEngineVcpu } from './vcpu.js';

const HLT = 0xf4;
const go: Answer = {};
const stuck = (vcpu: KvmEngineVcpu, why: string): Answer => {
  vcpu.pull();
  return { event: vcpu.stuck(why) };
};

/** What an exit of KVM_RUN means for a TD's guest. */
export async function handleExit(vcpu: KvmEngineVcpu, exit: VcpuExit): Promise<Answer> {
  switch (exit.reason) {
    case 'mmio':
      return exit.isWrite ? await memoryWrite(vcpu, exit) : await memoryRead(vcpu, exit);
    case 'io':
      return await port(vcpu, exit);
    case 'hlt':
      return hlt(vcpu);
    case 'shutdown':
      vcpu.pull();
      return { event: { kind: 'triple-fault' } };
    case 'x86-rdmsr':
    case 'x86-wrmsr':
      return await msr(vcpu, exit);
    case 'internal-error':
      if (exit.suberror === 1) return emulationFailed(vcpu);
      return stuck(vcpu, `KVM gave up: KVM_EXIT_INTERNAL_ERROR, suberror ${exit.suberror}, ${exit.data.join(' ')}`);
    case 'irq-window-open':
      vcpu.pull();
      return { event: { kind: 'interrupt-window' } };
    case 'intr':
      return go;
    case 'fail-entry':
      return stuck(vcpu, `the processor refused the guest: ${exit.hardwareEntryFailureReason.toString(16)}`);
    default:
      return stuck(vcpu, `KVM_RUN ended in "${exit.reason}", which a plain VM of ours has no reason for`);
  }
}

/** Length of the instruction at the instruction pointer, 0 where it cannot be told. */
function lengthAt(vcpu: KvmEngineVcpu): number {
  const insn = decodeAt(vcpu.state, vcpu.bytesAt(), vcpu.state.ip);
  return typeof insn === 'string' ? 0 : insn.length;
}

/** KVM is past the instruction, prefixes are pointless with it. */
function hlt(vcpu: KvmEngineVcpu): Answer {
  vcpu.pull();
  if (vcpu.bytesAt(vcpu.state.ip - 1)[0] === HLT) vcpu.state.ip -= 1;
  return { event: { kind: 'instruction', name: 'hlt', length: 1 } };
}

async function msr(vcpu: KvmEngineVcpu, exit: RdmsrExit | WrmsrExit): Promise<Answer> {
  vcpu.pull();
  // KVM believes that it was answered; the registers are put back before the guest goes on.
  await vcpu.complete({ msr: { error: false } });
  return {
    event: { kind: 'instruction', name: exit.reason === 'x86-rdmsr' ? 'rdmsr' : 'wrmsr', length: lengthAt(vcpu) },
  };
}

async function port(vcpu: KvmEngineVcpu, exit: IoExit): Promise<Answer> {
  vcpu.pull();
  const write = exit.direction === 'out';
  if (write && isPatchPort(exit.port)) {
    const patched = await patchedPort(vcpu, exit);
    if (patched !== undefined) return patched;
  }
  const { port, size, count } = exit;
  let insn: ReturnType<typeof decodeAt> | undefined;
  if (write && vcpu.td.abilities.outAdvances) {
    const completed = completedOut(vcpu.state, vcpu.td.observer, { port, size, count });
    completed?.undo();
    insn = completed?.insn;
  } else {
    insn = decodeAt(vcpu.state, vcpu.bytesAt(), vcpu.state.ip);
    await settle(vcpu, write ? undefined : new Uint8Array(size * count));
  }
  if (insn === undefined || typeof insn === 'string') {
    return { event: vcpu.stuck(`an access to port 0x${port.toString(16)} by an instruction that was not found`) };
  }
  const string = /^(?:Ins|Outs)/.test(insn.name);
  return {
    event: {
      kind: 'io',
      length: insn.length,
      port,
      size: size as 1 | 2 | 4,
      write,
      string,
      rep: insn.rep || insn.repne,
      immediate: !string && insn.operands.some(({ kind }) => kind === 'immediate'),
    },
  };
}

/** A write to a port that a patched instruction makes. */
async function patchedPort(vcpu: KvmEngineVcpu, exit: IoExit): Promise<Answer | undefined> {
  const { state, td } = vcpu;
  const ip = td.abilities.outAdvances ? state.ip - writeLength(exit.port) : state.ip;
  const gpa = td.observer.find(state, codeAddress(state, ip), 'execute');
  if (gpa === undefined || !td.memory.isMapped(gpa)) return undefined;
  const found = patchedAt(exit.port, td.memory.readRaw(gpa, Math.min(4, 4096 - (gpa % 4096))));
  if (found === undefined) return undefined;
  if (!td.abilities.outAdvances) await settle(vcpu);
  state.ip = ip;
  const { name, length } = found;
  return { event: name === 'tdcall' ? { kind: 'tdcall', length } : { kind: 'instruction', name, length } };
}

/** Finishes an instruction in KVM without any effect: all it can change is put back. The state is the one before. */
async function settle(vcpu: KvmEngineVcpu, data?: Uint8Array): Promise<void> {
  const { kvm, td, state } = vcpu;
  const insn = decodeAt(state, vcpu.bytesAt(), state.ip);
  const kept = typeof insn === 'string' ? [] : writesBesides(state, insn, td.observer);
  const bytes = kept.map(({ gpa, size }) => td.software.read(gpa, size));
  const events = kvm.getVcpuEvents();
  const xsave = kvm.getXsave();
  await vcpu.complete(data && { data });
  kvm.setXsave(xsave);
  kvm.setVcpuEvents(events);
  for (const [i, { gpa }] of kept.entries()) if (bytes[i] !== undefined) td.software.write(gpa, bytes[i]);
  vcpu.changed();
}

async function memoryRead(vcpu: KvmEngineVcpu, { gpa: address, data: { length } }: MmioExit): Promise<Answer> {
  const gpa = Number(address);
  const { memory, software } = vcpu.td;
  if (!software.isShared(gpa) && memory.isMapped(gpa)) {
    // Seen by KVM before the instruction goes on: a locked one is then as it should be.
    memory.touch(gpa);
    return { reply: { data: memory.readRaw(gpa, length) } };
  }
  const data = software.read(gpa, length);
  if (data !== undefined) return { reply: { data } };
  vcpu.pull();
  const { state, td } = vcpu;
  const insn = decodeAt(state, vcpu.bytesAt(), state.ip);
  const known = typeof insn === 'string' ? undefined : insn;
  const gla = known?.operands
    .map((operand) => operandAddress(state, operand))
    .find((linear) => linear !== undefined && td.observer.find(state, linear, 'read') === gpa);
  await settle(vcpu, new Uint8Array(length));
  return { event: violation(gpa, gla, 'read', known?.length ?? 0) };
}

async function memoryWrite(vcpu: KvmEngineVcpu, { gpa: address, data }: MmioExit): Promise<Answer> {
  const gpa = Number(address);
  const { memory, software } = vcpu.td;
  if (software.write(gpa, data)) {
    if (!software.isShared(gpa)) memory.touch(gpa);
    return go;
  }
  vcpu.pull();
  const completed = completedWrite(vcpu.state, vcpu.td.observer, gpa, data);
  await vcpu.complete();
  vcpu.changed();
  if (completed === undefined) {
    const where = `GPA 0x${gpa.toString(16)}`;
    return { event: vcpu.stuck(`a write of ${data.length} bytes to ${where} by an instruction that was not found`) };
  }
  completed.undo();
  return { event: violation(gpa, completed.gla, 'write', completed.insn.length) };
}

const violation = (gpa: number, gla: number | undefined, access: 'read' | 'write', length: number) =>
  ({ kind: 'ept-violation', gpa, gla: BigInt.asUintN(64, BigInt(gla ?? gpa)), access, length }) as const;
