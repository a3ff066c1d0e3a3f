import { rules } from './rule.js';

/** What KVM itself checks on KVM_TDX_INIT_VM, in its order: tdx_vm_ioctl, tdx_td_init, setup_tdparams, __tdx_td_init. */
export const INIT_VM_RULES = rules({
  'kvm.init-vm.once': {
    source: 'tdx.c tdx_td_init: kvm_tdx->state != TD_STATE_UNINITIALIZED',
    errno: 'EINVAL',
    what: 'KVM_TDX_INIT_VM succeeds once per VM',
    fix: 'Create another VM for another TD',
  },
  'kvm.init-vm.flags': {
    source: 'tdx.c tdx_td_init: cmd->flags',
    errno: 'EINVAL',
    what: 'kvm_tdx_cmd.flags of KVM_TDX_INIT_VM is 0',
    fix: 'Pass flags 0',
  },
  'kvm.init-vm.nent': {
    source: 'tdx.c tdx_td_init: user_data->cpuid.nent > KVM_MAX_CPUID_ENTRIES',
    errno: 'E2BIG',
    what: 'At most 256 CPUID entries are given',
    fix: 'Give only leaves that the capabilities list as configurable',
  },
  'kvm.init-vm.reserved': {
    source: 'tdx.c tdx_td_init: memchr_inv(init_vm->reserved), init_vm->cpuid.padding',
    errno: 'EINVAL',
    what: 'The reserved fields and cpuid.padding of kvm_tdx_init_vm are 0',
    fix: 'Zero the structure before filling it',
  },
  'kvm.init-vm.no-vcpus': {
    source: 'tdx.c setup_tdparams: kvm->created_vcpus',
    errno: 'EBUSY',
    what: 'No vCPU exists before KVM_TDX_INIT_VM',
    fix: 'Create the vCPUs after KVM_TDX_INIT_VM',
  },
  'kvm.init-vm.attributes-supported': {
    source: 'tdx.c setup_tdparams: init_vm->attributes & ~tdx_get_supported_attrs()',
    errno: 'EINVAL',
    what: 'Only attributes in supported_attrs of KVM_TDX_CAPABILITIES are set',
    fix: 'Clear the attributes that this host does not support',
  },
  'kvm.init-vm.xfam-supported': {
    source: 'tdx.c setup_tdparams: init_vm->xfam & ~tdx_get_supported_xfam()',
    errno: 'EINVAL',
    what: 'Only XFAM bits in supported_xfam of KVM_TDX_CAPABILITIES are set',
    fix: 'Clear the XFAM bits that this host does not support',
  },
  'kvm.init-vm.gpaw-leaf': {
    source: 'tdx.c setup_tdparams_eptp_controls: kvm_find_cpuid_entry2(0x80000008, 0)',
    errno: 'EINVAL',
    what: 'CPUID leaf 0x80000008 is given: its EAX[23:16] is how the GPAW is chosen',
    fix: 'Add an entry for leaf 0x80000008',
  },
  'kvm.init-vm.gpaw-value': {
    source: 'tdx.c setup_tdparams_eptp_controls: guest_pa != 48 && guest_pa != 52',
    errno: 'EINVAL',
    what: 'CPUID(0x80000008).EAX[23:16], the GPAW, is 48 or 52',
    fix: 'Choose a GPAW of 48 or 52',
  },
  'kvm.init-vm.gpaw-5level': {
    source: 'tdx.c setup_tdparams_eptp_controls: guest_pa == 52 && !cpu_has_vmx_ept_5levels()',
    errno: 'EINVAL',
    what: 'A GPAW of 52 needs a processor with 5-level EPT',
    fix: 'Choose a GPAW of 48',
  },
  'kvm.init-vm.tsx-waitpkg': {
    source: 'tdx.c tdx_unsupported_cpuid: has_tsx, has_waitpkg',
    errno: 'EINVAL',
    what: 'HLE (7.0.EBX[4]), RTM (7.0.EBX[11]) and WAITPKG (7.0.ECX[5]) are not configured: KVM denies them to TDs',
    fix: 'Clear these bits',
  },
  'kvm.init-vm.leaf-configurable': {
    source: 'tdx.c setup_tdparams_cpuids: copy_cnt != cpuid->nent',
    errno: 'EINVAL',
    what: 'Every CPUID entry is a (leaf, sub-leaf) that KVM_TDX_CAPABILITIES lists, and no two are the same',
    fix: 'Remove the entry: this leaf cannot be configured on this host',
  },
  'kvm.init-vm.keyid': {
    source: 'tdx.c __tdx_td_init: tdx_guest_keyid_alloc (ida_alloc_range)',
    errno: 'ENOSPC',
    what: 'A private KeyID is free: every TD on the host holds one',
    fix: 'Close other TDs, or give more KeyIDs to TDX in the BIOS (TME-MT/TDX key split)',
  },
  'kvm.init-vm.misc-cgroup': {
    source: 'tdx.c __tdx_td_init: misc_cg_try_charge(MISC_CG_RES_TDX)',
    errno: 'EBUSY',
    what: 'The misc cgroup of this process allows one more TD (misc.max, "tdx")',
    fix: 'Raise "tdx" in misc.max of the cgroup or close other TDs in it',
  },
  'kvm.init-vm.entropy': {
    source: 'tdx.c __tdx_td_init: TDX_RND_NO_ENTROPY of TDH.MNG.CREATE and TDH.MNG.ADDCX after 10 tries',
    errno: 'EAGAIN',
    what: 'The processor has entropy for the key of a new TD',
    fix: 'Try again',
  },
  'kvm.init-vm.key-config': {
    source: 'tdx.c tdx_do_tdh_mng_key_config: KVM_BUG_ON',
    errno: 'EIO',
    what: 'TDH.MNG.KEY.CONFIG succeeds on every package; a failure leaves a dead VM',
    fix: 'Close this VM and create another',
  },
  'kvm.init-vm.module': {
    source: 'tdx.c __tdx_td_init: TDX_OPERAND_INVALID gives EINVAL with hw_error, any other status EIO with hw_error 0',
    errno: 'EIO',
    what: 'TDH.MNG.CREATE, TDH.MNG.ADDCX and TDH.MNG.INIT succeed',
    fix: 'Look for the status in the kernel log (dmesg)',
  },
});

/** What KVM lets through although it is not what the user meant (computed with the kernel's code). */
export const TRAP_RULES = rules({
  'trap.gpaw-vcpu-mismatch': {
    source: 'mmu.c kvm_mmu_get_tdp_level, tdx.c tdx_load_mmu_pgd: KVM_BUG_ON',
    what: "CPUID(0x80000008).EAX[23:16] of every vCPU equals the TD's GPAW; on a 5-level host a mismatch kills the VM at the first KVM_TDX_INIT_MEM_REGION or KVM_RUN",
    fix: 'Give the vCPUs the same GPAW in KVM_SET_CPUID2 as the TD, with leaf 0x80000000 present',
  },
  'trap.tsc-wraps': {
    source: 'tdx.c setup_tdparams: TDX_TSC_KHZ_TO_25MHZ into a u16',
    what: 'The TSC frequency fits TD_PARAMS.TSC_FREQUENCY: 16 bits in units of 25 MHz, higher ones wrap silently',
    fix: 'Choose a frequency between 100 MHz and 10 GHz',
  },
  'trap.tsc-rounded': {
    source: 'tdx.c setup_tdparams: TDX_TSC_KHZ_TO_25MHZ truncates',
    what: 'The TSC frequency is a multiple of 25 MHz; another one is rounded down silently and KVM keeps the other number',
    fix: 'Choose a multiple of 25 000 kHz',
  },
  'trap.junk-leaves': {
    source: 'tdx.c setup_tdparams_cpuids: only counts are compared',
    what: 'No entry of an indexed leaf lacks KVM_CPUID_FLAG_SIGNIFCANT_INDEX: it matches every sub-leaf, and junk entries are then dropped silently',
    fix: 'Set KVM_CPUID_FLAG_SIGNIFCANT_INDEX on entries of indexed leaves',
  },
  'trap.duplicate-vcpu-id': {
    source: 'tdx.c tdx_vcpu_free returns early while the HKID is assigned, after EEXIST of KVM_CREATE_VCPU',
    what: 'A vcpu_id is used once per TD: a repeated one corrupts a list in the kernel, so it is never sent',
    fix: 'Choose another vcpu_id',
  },
  'trap.max-vcpus-kernel': {
    source: 'tdx.c tdx_vm_init: kvm->max_vcpus = min(kvm->max_vcpus, num_present_cpus())',
    what: 'TD_PARAMS.MAX_VCPUS is the number that KVM_CHECK_EXTENSION(KVM_CAP_MAX_VCPUS) gives on the VM; KVM_ENABLE_CAP changes it only on kernels with the per-VM proposal',
    fix: 'Ask for at most what the VM reports',
  },
  'trap.sept-ve-disable': {
    source: 'arch/x86/coco/tdx/tdx.c: Linux guests panic without ATTR_SEPT_VE_DISABLE',
    what: 'SEPT_VE_DISABLE is set: Linux refuses to boot in a TD without it',
    fix: 'Add SEPT_VE_DISABLE to the attributes',
  },
});
