import { KVM_TDX_MEASURE_MEMORY_REGION } from '../../kvm/constants.js';
import { slotMemfd } from './guest-memfd.js';
import { demand, Refusal } from './refusal.js';
import { isOperandBusy } from './td-finalize.js';
import type { TdVcpu } from './td-vcpu.js';
import type { InitMemRegion, TdxCmd, TdxCmdData } from './user.js';

const PAGE = 4096n;
const U64 = (1n << 64n) - 1n;
/** TDX_EXTENDMR_CHUNKSIZE. */
const CHUNK = 256n;

/**
 * KVM_TDX_INIT_MEM_REGION (tdx_vcpu_init_mem_region): page by page TDH.MEM.PAGE.ADD and, if asked for, 16 times
 * TDH.MR.EXTEND. The structure is advanced in place and written back also when a page fails.
 */
export function tdxVcpuInitMemRegion(vcpu: TdVcpu, cmd: TdxCmd, data: TdxCmdData): void {
  const { td } = vcpu;
  const { vm } = td;
  demand(vcpu.state === 'initialized', 'kvm.init-mem-region.vcpu-state');
  demand(td.state !== 'runnable', 'kvm.tdx-vcpu.td-state');
  demand((cmd.flags & ~KVM_TDX_MEASURE_MEMORY_REGION) === 0, 'kvm.init-mem-region.flags');
  const user = data.memRegion(cmd.data);
  const region = user.read();
  checkRange(vcpu, region);

  vcpu.reloadMmu();
  const measure = (cmd.flags & KVM_TDX_MEASURE_MEMORY_REGION) !== 0;
  try {
    for (let done = 0; region.nrPages > 0n; done++) {
      td.host.faults.beforePage(done);
      if (vm.task.signalPending()) throw new Refusal('kvm.init-mem-region.signal');
      populate(vcpu, region, measure);
      region.sourceAddr = (region.sourceAddr + PAGE) & U64;
      region.gpa += PAGE;
      region.nrPages--;
    }
  } finally {
    user.write(region);
  }
}

function checkRange({ td }: TdVcpu, { sourceAddr, gpa, nrPages }: InitMemRegion): void {
  demand(sourceAddr % PAGE === 0n && gpa % PAGE === 0n && nrPages !== 0n, 'kvm.init-mem-region.range');
  const end = (gpa + nrPages * PAGE) & U64;
  demand(end > gpa, 'kvm.init-mem-region.range');
  demand(td.isPrivate(gpa) && td.isPrivate((end - 1n) & U64), 'kvm.init-mem-region.range');
}

/** kvm_gmem_populate() of one page with tdx_gmem_post_populate(). */
function populate(vcpu: TdVcpu, { gpa, sourceAddr }: InitMemRegion, measure: boolean): void {
  const { vm } = vcpu.td;
  const gfn = Number(gpa / PAGE);
  const slot = vm.slots.find(gfn);
  const gmem = slotMemfd(slot);
  const index = gfn - slot!.baseGfn + slot!.gmemPage;
  const page = gmem.folio(index);
  demand(!gmem.isPrepared(index), 'kvm.init-mem-region.populated');
  demand(vm.privatePages.covers(gfn, gfn + 1), 'kvm.init-mem-region.private');
  const source = vm.task.page(sourceAddr);
  if (!source) throw new Refusal('kvm.init-mem-region.source');
  addPage(vcpu, gfn, page, source, measure);
  gmem.markPrepared(index);
}

function addPage(vcpu: TdVcpu, gfn: number, page: bigint, source: Uint8Array, measure: boolean): void {
  const { td } = vcpu;
  const { host, seamcalls, vm, mmu } = td;
  const gpa = BigInt(gfn) * PAGE;
  mmu.map(gfn, page, vcpu.tdpLevel);
  const { status, rule } = host.memory.lend(source, (pa) => seamcalls.memPageAdd(td.tdr, gpa, page, pa));
  if (isOperandBusy(status)) throw new Refusal('kvm.init-mem-region.busy', 'EBUSY', rule);
  if (status !== 0n) throw new Refusal('kvm.init-mem-region.page-add', 'EIO', rule);
  if (!vm.bugOn(td.nrPremapped === 0)) td.nrPremapped--;
  if (!measure) return;
  for (let at = gpa; at < gpa + PAGE; at += CHUNK) {
    const extended = seamcalls.mrExtend(td.tdr, at);
    if (extended.status !== 0n) throw new Refusal('kvm.init-mem-region.extend', 'EIO', extended.rule);
  }
}
