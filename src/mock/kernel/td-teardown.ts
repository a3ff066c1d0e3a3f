import { TDX_STATUS } from '../../kvm/status.js';
import type { Td } from './td.js';

/** How often TDH.PHYMEM.CACHE.WB is resumed. */
const CACHE_WB_TRIES = 10_000;

/** tdx_reclaim_page(): takes a page back from the TDX module; a page that it keeps is lost to the host. */
export function reclaimPage(td: Td, page: bigint): boolean {
  if (td.seamcalls.phymemPageReclaim(page).status !== 0n) return false;
  td.host.memory.free(page);
  return true;
}

/** tdx_mmu_release_hkid(): flushes the vCPUs and the caches and gives the KeyID back. */
export function releaseHkid(td: Td): void {
  if (td.hkid === undefined) return;
  const { seamcalls, vm, host } = td;
  for (const vcpu of vm.vcpus.values()) vcpu.td?.flush();
  const flushed = seamcalls.mngVpFlushDone(td.tdr).status;
  if (flushed === TDX_STATUS.TDX_FLUSHVP_NOT_DONE) return;
  if (vm.bugOn(flushed !== 0n)) return;
  for (let pkg = 0; pkg < host.packages; pkg++) writeBackCaches(td, pkg);
  if (vm.bugOn(seamcalls.mngKeyFreeId(td.tdr).status !== 0n)) return;
  freeHkid(td);
}

/** tdx_hkid_free(). It uncharges the misc cgroup also where the charge was what failed. */
export function freeHkid(td: Td): void {
  if (td.hkid !== undefined) td.host.keyIds.free(td.hkid);
  td.hkid = undefined;
  td.host.miscCgroup.uncharge();
}

function writeBackCaches(td: Td, pkg: number): void {
  for (let i = 0, resume = false; i < CACHE_WB_TRIES; i++, resume = true)
    if (td.seamcalls.phymemCacheWb(resume, pkg).status !== TDX_STATUS.TDX_INTERRUPTED_RESUMABLE) return;
}

/** tdx_reclaim_td_control_pages(): the TDCS pages, then the TDR. Nothing can be had back while the KeyID is assigned. */
export function reclaimControlPages(td: Td): void {
  if (td.hkid !== undefined) return;
  for (const page of td.tdcsPages) if (page !== undefined) reclaimPage(td, page);
  td.tdcsPages = [];
  const { tdrPage, seamcalls, vm, host } = td;
  if (tdrPage === undefined) return;
  if (seamcalls.phymemPageReclaim(tdrPage).status !== 0n) return;
  if (vm.bugOn(seamcalls.phymemPageWbinvdTdr(tdrPage).status !== 0n)) return;
  host.memory.free(tdrPage);
  td.tdrPage = undefined;
}
