import type { CpuidEntry } from '../../kvm/cpuid.js';
import { findCpuidEntry } from './cpuid2.js';
import { demand, Refusal } from './refusal.js';
import type { Td } from './td.js';
import { configurableEntry, isDeniedToTds, supportedAttributes, supportedXfam, withGuestPhysBits } from './tdx-host.js';
import type { InitVmHeader } from './user.js';

/** sizeof(struct td_params). */
export const TD_PARAMS_SIZE = 1024;

const MEMTYPE_WB = 6n;
const PWL_4 = 3n << 3n;
const PWL_5 = 4n << 3n;
const CONFIG_FLAGS = { GPAW: 1n, NO_RBP_MOD: 4n } as const;
const KHZ_PER_UNIT = 25_000;

/** TD_PARAMS field offsets, bytes. */
const AT = {
  ATTRIBUTES: 0,
  XFAM: 8,
  MAX_VCPUS: 16,
  EPTP_CONTROLS: 24,
  CONFIG_FLAGS: 32,
  TSC_FREQUENCY: 40,
  MRCONFIGID: 80,
  MROWNER: 128,
  MROWNERCONFIG: 176,
  CPUID_CONFIG: 256,
} as const;

/** setup_tdparams(): checks what KVM checks itself and builds the TD_PARAMS for TDH.MNG.INIT. */
export function setupTdParams(td: Td, init: InitVmHeader, entries: readonly CpuidEntry[]): Uint8Array {
  const { vm, tdx } = td;
  demand(vm.createdVcpus === 0, 'kvm.init-vm.no-vcpus');
  demand((init.attributes & ~supportedAttributes(tdx)) === 0n, 'kvm.init-vm.attributes-supported');
  demand((init.xfam & ~supportedXfam(tdx)) === 0n, 'kvm.init-vm.xfam-supported');

  const params = new Uint8Array(TD_PARAMS_SIZE);
  const view = new DataView(params.buffer);
  view.setUint16(AT.MAX_VCPUS, vm.maxVcpus, true);
  view.setBigUint64(AT.ATTRIBUTES, init.attributes | tdx.sysInfo.attributesFixed1, true);
  view.setBigUint64(AT.XFAM, init.xfam | tdx.sysInfo.xfamFixed1, true);
  // The field has 16 bits: what is above wraps silently.
  view.setUint16(AT.TSC_FREQUENCY, Math.floor(vm.defaultTscKhz / KHZ_PER_UNIT), true);
  setEptpControls(td, entries, view);
  setCpuidConfig(td, entries, view);
  params.set(init.mrConfigId, AT.MRCONFIGID);
  params.set(init.mrOwner, AT.MROWNER);
  params.set(init.mrOwnerConfig, AT.MROWNERCONFIG);
  return params;
}

/** setup_tdparams_eptp_controls(): KVM takes CPUID(0x80000008).EAX[23:16] for the GPAW. */
function setEptpControls(td: Td, entries: readonly CpuidEntry[], view: DataView): void {
  const widths = findCpuidEntry(entries, 0x8000_0008, 0);
  if (!widths) throw new Refusal('kvm.init-vm.gpaw-leaf');
  const gpaw = (widths.eax >>> 16) & 0xff;
  demand(gpaw === 48 || gpaw === 52, 'kvm.init-vm.gpaw-value');
  demand(gpaw === 48 || td.host.ept5Levels, 'kvm.init-vm.gpaw-5level');
  const wide = gpaw === 52;
  view.setBigUint64(AT.EPTP_CONTROLS, MEMTYPE_WB | (wide ? PWL_5 : PWL_4), true);
  const noRbpMod = td.host.profile.kernel.rbpShareable ? 0n : CONFIG_FLAGS.NO_RBP_MOD;
  view.setBigUint64(AT.CONFIG_FLAGS, noRbpMod | (wide ? CONFIG_FLAGS.GPAW : 0n), true);
}

/** setup_tdparams_cpuids(): one slot per configurable leaf. Only the counts are compared, so junk can slip through. */
function setCpuidConfig(td: Td, entries: readonly CpuidEntry[], view: DataView): void {
  let copied = 0;
  for (const [i, config] of td.tdx.sysInfo.cpuidConfig.entries()) {
    const slot = configurableEntry(config);
    const entry = findCpuidEntry(entries, slot.function, slot.index);
    if (!entry) continue;
    demand(!isDeniedToTds(entry), 'kvm.init-vm.tsx-waitpkg');
    copied++;
    const at = AT.CPUID_CONFIG + 16 * (config.slot ?? i);
    // The module wants the guest physical address width empty: KVM has used it up for the GPAW.
    view.setUint32(at, slot.function === 0x8000_0008 ? withGuestPhysBits(entry.eax, 0) : entry.eax, true);
    view.setUint32(at + 4, entry.ebx, true);
    view.setUint32(at + 8, entry.ecx, true);
    view.setUint32(at + 12, entry.edx, true);
  }
  demand(copied === entries.length, 'kvm.init-vm.leaf-configurable');
}
