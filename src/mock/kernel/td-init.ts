import { TDX_STATUS } from '../../kvm/status.js';
import type { SeamcallResult } from '../module/seamcall.js';
import { MAX_CPUID_ENTRIES } from './cpuid2.js';
import { demand, Refusal } from './refusal.js';
import type { Td } from './td.js';
import { setupTdParams } from './td-params.js';
import { freeHkid, reclaimControlPages, releaseHkid } from './td-teardown.js';
import type { TdxCmd, TdxCmdData } from './user.js';

const STATUS_MASK = 0xffff_ffff_0000_0000n;
const PAGE_SIZE = 4096;

/** TDCS execution controls: class 17, fields TSC_OFFSET and TSC_MULTIPLIER. */
const TSC_FIELDS = [0x1100_0000_0000_000an, 0x1100_0000_0000_000bn] as const;

const SHARED_BIT = { 48: 1n << 47n, 52: 1n << 51n } as const;

/** KVM_TDX_INIT_VM (tdx_td_init). On a failure everything is undone and the request may be tried again. */
export function tdxTdInit(td: Td, cmd: TdxCmd, data: TdxCmdData): void {
  demand(td.state === 'uninitialized', 'kvm.init-vm.once');
  demand(cmd.flags === 0, 'kvm.init-vm.flags');
  const user = data.initVm(cmd.data);
  const init = user.readHeader();
  demand(init.nent <= MAX_CPUID_ENTRIES, 'kvm.init-vm.nent');
  const entries = user.readEntries(init.nent);
  demand(
    (init.reserved ?? []).every((word) => word === 0n),
    'kvm.init-vm.reserved',
  );
  demand((init.padding ?? 0) === 0, 'kvm.init-vm.reserved');

  const params = setupTdParams(td, init, entries);
  cmd.hwError = 0n;
  createTd(td, params, cmd);

  // Where the reads fail, KVM logs it and goes on with zeros.
  [td.tscOffset, td.tscMultiplier] = TSC_FIELDS.map((field) => td.seamcalls.mngRd(td.tdr, field).r8) as [
    bigint,
    bigint,
  ];
  const view = new DataView(params.buffer);
  td.attributes = view.getBigUint64(0, true);
  td.xfam = view.getBigUint64(8, true);
  td.sharedBit = SHARED_BIT[(view.getUint32(32, true) & 1) === 1 ? 52 : 48];
  td.state = 'initialized';
}

/** __tdx_td_init(): KeyID, TDR, keys, TDCS, TDH.MNG.INIT. */
function createTd(td: Td, params: Uint8Array, cmd: TdxCmd): void {
  const { host, tdx } = td;
  td.hkid = host.keyIds.alloc();
  const pages: bigint[] = [];
  try {
    host.miscCgroup.charge();
    const tdr = host.memory.alloc();
    pages.push(tdr);
    while (pages.length < 1 + tdx.sysInfo.tdcsPages) pages.push(host.memory.alloc());
    demand((host.profile.kernel.offlinePackages ?? 0) === 0, 'kvm.init-vm.packages');
    td.tdrPage = tdr;
    succeed(td.seamcalls.mngCreate(tdr, td.hkid));
  } catch (refusal) {
    for (const page of pages) host.memory.free(page);
    td.tdrPage = undefined;
    freeHkid(td);
    throw refusal;
  }
  try {
    fill(td, pages.slice(1), params, cmd);
  } catch (refusal) {
    releaseHkid(td);
    reclaimControlPages(td);
    throw refusal;
  }
}

/** The part of __tdx_td_init that needs a full teardown where it fails. */
function fill(td: Td, tdcsPages: bigint[], params: Uint8Array, cmd: TdxCmd): void {
  const { host, seamcalls, vm } = td;
  let added = 0;
  try {
    for (let pkg = 0; pkg < host.packages; pkg++) {
      const { status, rule } = seamcalls.mngKeyConfig(td.tdr, pkg);
      if (vm.bugOn(status !== 0n)) throw new Refusal('kvm.init-vm.key-config', 'EIO', rule);
    }
    td.tdcsPages = [];
    for (const page of tdcsPages) {
      succeed(seamcalls.mngAddCx(td.tdr, page));
      td.tdcsPages.push(page);
      added++;
    }
  } catch (refusal) {
    for (const page of tdcsPages.slice(added)) host.memory.free(page);
    throw refusal;
  }
  const page = new Uint8Array(PAGE_SIZE);
  page.set(params);
  const { status, rule } = host.memory.lend(page, (pa) => seamcalls.mngInit(td.tdr, pa));
  if ((status & STATUS_MASK) === TDX_STATUS.TDX_OPERAND_INVALID) {
    cmd.hwError = status;
    throw new Refusal('kvm.init-vm.module', 'EINVAL', rule);
  }
  if (status !== 0n) throw new Refusal('kvm.init-vm.module', 'EIO', rule);
}

/** TDH.MNG.CREATE and TDH.MNG.ADDCX: no entropy after ten tries is EAGAIN, anything else EIO. */
function succeed({ status, rule }: SeamcallResult): void {
  if (status === TDX_STATUS.TDX_RND_NO_ENTROPY) throw new Refusal('kvm.init-vm.entropy', 'EAGAIN', rule);
  if (status !== 0n) throw new Refusal('kvm.init-vm.module', 'EIO', rule);
}
