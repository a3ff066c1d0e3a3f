import { readFileSync } from 'node:fs';
import { KVM_X86_TDX_VM, type KvmSystem, type TdxCapabilities } from '../../src/kvm/index.js';
import { type Fault, listProfiles, mockHostOf, openMock, type ProfileDocument } from '../../src/mock/index.js';

/** Bundled profiles on which Linux can make TDs. */
export const usableProfiles = (): string[] =>
  listProfiles().filter((profile) => {
    using system = openMock({ profile });
    return mockHostOf(system)?.tdx !== undefined;
  });

export function capabilitiesOf(system: KvmSystem): TdxCapabilities {
  using vm = system.createVm(KVM_X86_TDX_VM);
  return vm.tdx.capabilities();
}

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** A bundled profile under a kernel that offers more to TDs than Linux 6.16 does: all attributes and XFAM of the module. */
export function generousProfile(name: string, supportedAttrs: bigint, supportedXfam: bigint): ProfileDocument {
  using system = openMock({ profile: name });
  const { cpuid } = capabilitiesOf(system);
  const document = JSON.parse(readFileSync(new URL(`../../profiles/${name}.json`, import.meta.url), 'utf8'));
  return {
    ...document,
    capabilities: { supportedAttrs: hex(supportedAttrs), supportedXfam: hex(supportedXfam), cpuid },
  };
}

export const openHost = (profile: string | ProfileDocument, faults: readonly Fault[] = []): KvmSystem =>
  openMock({ profile, faults });

/** What a run has left on the host. */
export function leftovers(system: KvmSystem): object {
  const { vms, tds, vcpus, keyIdsInUse, pagesAllocated } = mockHostOf(system)!.stats();
  return { vms, tds, vcpus, keyIdsInUse, pagesAllocated };
}

export const NOTHING_LEFT = { vms: 0, tds: 0, vcpus: 0, keyIdsInUse: 0, pagesAllocated: 0 };
