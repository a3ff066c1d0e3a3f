import { rules } from './rule.js';

/** What KVM checks on requests that say nothing about TDX. Files are those of Linux 6.16.1. */
export const KVM_PLAIN_RULES = rules({
  'kvm.request.number': {
    source: 'kvm_main.c kvm_dev_ioctl, kvm_vcpu_ioctl, x86.c kvm_arch_dev_ioctl, kvm_arch_vcpu_ioctl: default',
    errno: 'EINVAL',
    what: '/dev/kvm and a vCPU know the request',
    fix: 'Issue the request on the descriptor that it is for',
  },
  'kvm.request.number-vm': {
    source: 'x86.c kvm_arch_vm_ioctl: default',
    errno: 'ENOTTY',
    what: 'A VM knows the request',
    fix: 'Issue the request on the descriptor that it is for',
  },
  'kvm.request.not-modelled': {
    source: 'the model',
    errno: 'ENOTTY',
    what: 'The model has this request of KVM',
    fix: 'Do without the request, or run the program on a real host',
  },
  'kvm.request.not-a-device': {
    source: 'fs/ioctl.c vfs_ioctl: no unlocked_ioctl',
    errno: 'ENOTTY',
    what: 'The descriptor answers requests',
    fix: 'Issue the request on the descriptor that it is for',
  },
  'kvm.request.argument': {
    source: 'kvm_main.c kvm_dev_ioctl KVM_GET_API_VERSION, KVM_GET_VCPU_MMAP_SIZE; kvm_vcpu_ioctl KVM_RUN: arg',
    errno: 'EINVAL',
    what: 'A request without an argument is given 0',
    fix: 'Pass 0 as the third argument of ioctl()',
  },
  'kvm.request.process': {
    source: 'kvm_main.c kvm_vm_ioctl, kvm_vcpu_ioctl: kvm->mm != current->mm',
    errno: 'EIO',
    what: 'A VM and its vCPUs are used by the process that created the VM',
    fix: 'Issue the request before fork() or exec(), or create the VM after it',
  },
  'kvm.request.operation': {
    source: 'include/linux/fs.h file_operations: neither fallocate nor mmap',
    errno: 'ENODEV',
    what: 'The descriptor can be mapped, or its pages be allocated',
    fix: 'Map vCPUs, punch holes in guest_memfds',
  },
  'kvm.guest-memfd.allocate': {
    source: 'guest_memfd.c kvm_gmem_allocate: i_size_read',
    errno: 'EINVAL',
    what: 'Pages are allocated within the size of the guest_memfd',
    fix: 'Allocate up to its size, or create it larger',
  },
  'kvm.fallocate.mode': {
    source: 'guest_memfd.c kvm_gmem_fallocate: KEEP_SIZE, PUNCH_HOLE; fs/open.c vfs_fallocate',
    errno: 'EOPNOTSUPP',
    what: 'fallocate() of a guest_memfd is told FALLOC_FL_KEEP_SIZE, with FALLOC_FL_PUNCH_HOLE or without',
    fix: 'Pass FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE',
  },
  'kvm.run.sync-regs': {
    source: 'x86.c kvm_arch_vcpu_ioctl_run: kvm_sync_valid_fields',
    errno: 'EINVAL',
    what: 'kvm_valid_regs and kvm_dirty_regs of kvm_run are 0: the registers of a TD cannot be synchronised',
    fix: 'Look at KVM_CHECK_EXTENSION(KVM_CAP_SYNC_REGS) on the VM, and leave the fields 0',
  },
  'kvm.run.memory-fault': {
    source: 'mmu/mmu.c kvm_mmu_prepare_memory_fault_exit, kvm_faultin_pfn',
    errno: 'EFAULT',
    what: 'The guest finds memory where it looks for it, private or shared as its memory attributes say',
    fix: 'Read kvm_run.memory_fault: convert the page or end the guest',
  },
  'kvm.cpuid.nent': {
    source: 'cpuid.c kvm_dev_ioctl_get_cpuid, kvm_vcpu_ioctl_get_cpuid2',
    errno: 'E2BIG',
    what: 'The buffer has room for every CPUID entry',
    fix: 'Try again with a larger nent, up to 256',
  },
});
