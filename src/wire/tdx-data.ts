import type { TdxCapabilities } from '../kvm/vm.js';
import type {
  InitMemRegion,
  InitVmHeader,
  TdxCmd,
  TdxCmdData,
  UserCapabilities,
  UserCpuid2,
  UserInitVm,
  UserValue,
} from '../mock/kernel/user.js';
import { decodeEntries, encodeEntries, kvmCpuid2, kvmCpuidEntry2 } from './layout/cpuid.js';
import { kvmTdxCapabilities, kvmTdxCmd, kvmTdxInitMemRegion, kvmTdxInitVm } from './layout/tdx.js';
import type { UserMemory } from './user-memory.js';

const { size: ENTRY } = kvmCpuidEntry2;

/** `struct kvm_tdx_cmd` at an address of the caller's. */
export const tdxCmdAt = (user: UserMemory, address: bigint): UserValue<TdxCmd> => ({
  read() {
    const { hw_error: hwError, ...rest } = kvmTdxCmd.decode(user.read(address, kvmTdxCmd.size));
    return { ...rest, hwError };
  },
  write: ({ hwError, ...rest }) => user.write(address, kvmTdxCmd.encode({ ...rest, hw_error: hwError })),
});

/** What kvm_tdx_cmd.data leads to in the caller's memory; each read and write is made where the kernel makes it. */
export const tdxDataIn = (user: UserMemory): TdxCmdData => ({
  initVm: (data) => initVmAt(user, data),
  capabilities: (data) => capabilitiesAt(user, data),
  cpuid2: (data) => cpuid2At(user, data),
  memRegion: (data) => memRegionAt(user, data),
});

const readU32 = (user: UserMemory, address: bigint): number => {
  const data = user.read(address, 4);
  return new DataView(data.buffer).getUint32(0, true);
};

function initVmAt(user: UserMemory, data: bigint): UserInitVm {
  return {
    readHeader: () => initVmHeader(user.read(data, kvmTdxInitVm.size)),
    readEntries: (nent) => decodeEntries(user.read(data + BigInt(kvmTdxInitVm.size), nent * ENTRY)),
  };
}

function initVmHeader(header: Uint8Array): InitVmHeader {
  const { mrconfigid, mrowner, mrownerconfig, cpuid, ...rest } = kvmTdxInitVm.decode(header);
  return { ...rest, ...cpuid, mrConfigId: mrconfigid, mrOwner: mrowner, mrOwnerConfig: mrownerconfig };
}

function capabilitiesAt(user: UserMemory, data: bigint): UserCapabilities {
  return {
    readNent: () => readU32(user, data + BigInt(kvmTdxCapabilities.fields.cpuid.offset)),
    writeHeader: (caps) => user.write(data, capabilitiesHeader(caps)),
    writeEntries: (entries) => user.write(data + BigInt(kvmTdxCapabilities.size), encodeEntries(entries)),
  };
}

const capabilitiesHeader = (caps: TdxCapabilities): Uint8Array =>
  kvmTdxCapabilities.encode({
    supported_attrs: caps.supportedAttrs,
    supported_xfam: caps.supportedXfam,
    kernel_tdvmcallinfo_1_r11: caps.kernelTdvmcallinfo1R11,
    user_tdvmcallinfo_1_r11: caps.userTdvmcallinfo1R11,
    kernel_tdvmcallinfo_1_r12: caps.kernelTdvmcallinfo1R12,
    user_tdvmcallinfo_1_r12: caps.userTdvmcallinfo1R12,
    cpuid: { nent: caps.cpuid.length, padding: 0 },
  });

function cpuid2At(user: UserMemory, data: bigint): UserCpuid2 {
  const read = () => kvmCpuid2.decode(user.read(data, kvmCpuid2.size));
  return {
    readNent: () => read().nent,
    writeNent: (nent) => user.write(data, kvmCpuid2.encode({ ...read(), nent })),
    writeEntries: (entries) => user.write(data + BigInt(kvmCpuid2.size), encodeEntries(entries)),
  };
}

const memRegionAt = (user: UserMemory, data: bigint): UserValue<InitMemRegion> => ({
  read() {
    const { source_addr, gpa, nr_pages } = kvmTdxInitMemRegion.decode(user.read(data, kvmTdxInitMemRegion.size));
    return { sourceAddr: source_addr, gpa, nrPages: nr_pages };
  },
  write: ({ sourceAddr, gpa, nrPages }) =>
    user.write(data, kvmTdxInitMemRegion.encode({ source_addr: sourceAddr, gpa, nr_pages: nrPages })),
});
