import type { GuestEvent } from '../engine.js';
import type { KvmEngineVcpu } from './vcpu.js';

export async function stepInSoftware(vcpu: KvmEngineVcpu): Promise<GuestEvent | undefined> {
  return vcpu.stuck("KVM's emulator does not know the instruction");
}
