// The layouts of the interface, pinned: a change of any size or offset stops the build.
#include <cstddef>

#include "abi.hpp"
#include "abi_run.hpp"
#include "abi_state.hpp"
#include "abi_tdx.hpp"

namespace kvmtdx::abi {

#define SIZE(type, bytes) static_assert(sizeof(type) == (bytes), #type)
#define AT(type, field, offset) static_assert(offsetof(type, field) == (offset), #type "." #field)

SIZE(kvm_cpuid_entry2, 40);
AT(kvm_cpuid_entry2, function, 0);
AT(kvm_cpuid_entry2, index, 4);
AT(kvm_cpuid_entry2, flags, 8);
AT(kvm_cpuid_entry2, eax, 12);
AT(kvm_cpuid_entry2, ebx, 16);
AT(kvm_cpuid_entry2, ecx, 20);
AT(kvm_cpuid_entry2, edx, 24);
AT(kvm_cpuid_entry2, padding, 28);

SIZE(kvm_cpuid2, 8);
AT(kvm_cpuid2, nent, 0);
AT(kvm_cpuid2, padding, 4);

SIZE(kvm_regs, 144);
AT(kvm_regs, rax, 0);
AT(kvm_regs, rsi, 32);
AT(kvm_regs, rsp, 48);
AT(kvm_regs, rbp, 56);
AT(kvm_regs, r8, 64);
AT(kvm_regs, r15, 120);
AT(kvm_regs, rip, 128);
AT(kvm_regs, rflags, 136);

SIZE(kvm_segment, 24);
AT(kvm_segment, base, 0);
AT(kvm_segment, limit, 8);
AT(kvm_segment, selector, 12);
AT(kvm_segment, type, 14);
AT(kvm_segment, present, 15);
AT(kvm_segment, dpl, 16);
AT(kvm_segment, db, 17);
AT(kvm_segment, s, 18);
AT(kvm_segment, l, 19);
AT(kvm_segment, g, 20);
AT(kvm_segment, avl, 21);
AT(kvm_segment, unusable, 22);

SIZE(kvm_dtable, 16);
AT(kvm_dtable, limit, 8);

SIZE(kvm_sregs, 312);
AT(kvm_sregs, cs, 0);
AT(kvm_sregs, ss, 120);
AT(kvm_sregs, tr, 144);
AT(kvm_sregs, ldt, 168);
AT(kvm_sregs, gdt, 192);
AT(kvm_sregs, idt, 208);
AT(kvm_sregs, cr0, 224);
AT(kvm_sregs, cr8, 256);
AT(kvm_sregs, efer, 264);
AT(kvm_sregs, apic_base, 272);
AT(kvm_sregs, interrupt_bitmap, 280);

SIZE(kvm_xsave, 4096);

SIZE(kvm_xcr, 16);
AT(kvm_xcr, value, 8);
SIZE(kvm_xcrs, 392);
AT(kvm_xcrs, xcrs, 8);
AT(kvm_xcrs, padding, 264);

SIZE(kvm_vcpu_events, 64);
AT(kvm_vcpu_events, exception.error_code, 4);
AT(kvm_vcpu_events, interrupt, 8);
AT(kvm_vcpu_events, nmi, 12);
AT(kvm_vcpu_events, sipi_vector, 16);
AT(kvm_vcpu_events, flags, 20);
AT(kvm_vcpu_events, smi, 24);
AT(kvm_vcpu_events, triple_fault, 28);
AT(kvm_vcpu_events, exception_has_payload, 55);
AT(kvm_vcpu_events, exception_payload, 56);

SIZE(kvm_msr_filter_range, 24);
AT(kvm_msr_filter_range, nmsrs, 4);
AT(kvm_msr_filter_range, base, 8);
AT(kvm_msr_filter_range, bitmap, 16);
SIZE(kvm_msr_filter, 392);
AT(kvm_msr_filter, ranges, 8);

SIZE(kvm_enable_cap, 104);
AT(kvm_enable_cap, cap, 0);
AT(kvm_enable_cap, flags, 4);
AT(kvm_enable_cap, args, 8);
AT(kvm_enable_cap, pad, 40);

SIZE(kvm_userspace_memory_region, 32);
AT(kvm_userspace_memory_region, slot, 0);
AT(kvm_userspace_memory_region, flags, 4);
AT(kvm_userspace_memory_region, guest_phys_addr, 8);
AT(kvm_userspace_memory_region, memory_size, 16);
AT(kvm_userspace_memory_region, userspace_addr, 24);

SIZE(kvm_userspace_memory_region2, 160);
AT(kvm_userspace_memory_region2, userspace_addr, 24);
AT(kvm_userspace_memory_region2, guest_memfd_offset, 32);
AT(kvm_userspace_memory_region2, guest_memfd, 40);
AT(kvm_userspace_memory_region2, pad2, 48);

SIZE(kvm_memory_attributes, 32);
AT(kvm_memory_attributes, address, 0);
AT(kvm_memory_attributes, size, 8);
AT(kvm_memory_attributes, attributes, 16);
AT(kvm_memory_attributes, flags, 24);

SIZE(kvm_create_guest_memfd, 64);
AT(kvm_create_guest_memfd, size, 0);
AT(kvm_create_guest_memfd, flags, 8);

SIZE(kvm_run, 2352);
AT(kvm_run, immediate_exit, 1);
AT(kvm_run, exit_reason, 8);
AT(kvm_run, if_flag, 13);
AT(kvm_run, flags, 14);
AT(kvm_run, cr8, 16);
AT(kvm_run, apic_base, 24);
AT(kvm_run, padding, 32);
AT(kvm_run, kvm_valid_regs, 288);
AT(kvm_run, kvm_dirty_regs, 296);
AT(kvm_run, sync_regs, 304);

AT(kvm_run_fail_entry, cpu, 8);
SIZE(kvm_run_io, 16);
AT(kvm_run_io, direction, 0);
AT(kvm_run_io, size, 1);
AT(kvm_run_io, port, 2);
AT(kvm_run_io, count, 4);
AT(kvm_run_io, data_offset, 8);
AT(kvm_run_mmio, phys_addr, 0);
AT(kvm_run_mmio, data, 8);
AT(kvm_run_mmio, len, 16);
AT(kvm_run_mmio, is_write, 20);
AT(kvm_run_hypercall, nr, 0);
AT(kvm_run_hypercall, args, 8);
AT(kvm_run_hypercall, ret, 56);
AT(kvm_run_hypercall, flags, 64);
AT(kvm_run_internal, suberror, 0);
AT(kvm_run_internal, ndata, 4);
AT(kvm_run_internal, data, 8);
AT(kvm_run_system_event, type, 0);
AT(kvm_run_system_event, ndata, 4);
AT(kvm_run_system_event, data, 8);
AT(kvm_run_memory_fault, flags, 0);
AT(kvm_run_memory_fault, gpa, 8);
AT(kvm_run_memory_fault, size, 16);
SIZE(kvm_run_tdx, 64);
AT(kvm_run_tdx, flags, 0);
AT(kvm_run_tdx, nr, 8);
AT(kvm_run_tdx, unknown.ret, 16);
AT(kvm_run_tdx, get_quote.gpa, 24);
AT(kvm_run_tdx, get_quote.size, 32);
AT(kvm_run_tdx, get_tdvmcall_info.leaf, 24);
AT(kvm_run_tdx, get_tdvmcall_info.r11, 32);
AT(kvm_run_tdx, get_tdvmcall_info.r14, 56);
AT(kvm_run_tdx, setup_event_notify.vector, 24);

SIZE(kvm_tdx_cmd, 24);
AT(kvm_tdx_cmd, id, 0);
AT(kvm_tdx_cmd, flags, 4);
AT(kvm_tdx_cmd, data, 8);
AT(kvm_tdx_cmd, hw_error, 16);

SIZE(kvm_tdx_capabilities, 2056);
AT(kvm_tdx_capabilities, supported_attrs, 0);
AT(kvm_tdx_capabilities, supported_xfam, 8);
AT(kvm_tdx_capabilities, kernel_tdvmcallinfo_1_r11, 16);
AT(kvm_tdx_capabilities, user_tdvmcallinfo_1_r11, 24);
AT(kvm_tdx_capabilities, kernel_tdvmcallinfo_1_r12, 32);
AT(kvm_tdx_capabilities, user_tdvmcallinfo_1_r12, 40);
AT(kvm_tdx_capabilities, reserved, 48);
AT(kvm_tdx_capabilities, cpuid, 2048);

SIZE(kvm_tdx_init_vm, 264);
AT(kvm_tdx_init_vm, attributes, 0);
AT(kvm_tdx_init_vm, xfam, 8);
AT(kvm_tdx_init_vm, mrconfigid, 16);
AT(kvm_tdx_init_vm, mrowner, 64);
AT(kvm_tdx_init_vm, mrownerconfig, 112);
AT(kvm_tdx_init_vm, reserved, 160);
AT(kvm_tdx_init_vm, cpuid, 256);

SIZE(kvm_tdx_init_mem_region, 24);
AT(kvm_tdx_init_mem_region, source_addr, 0);
AT(kvm_tdx_init_mem_region, gpa, 8);
AT(kvm_tdx_init_mem_region, nr_pages, 16);

#undef SIZE
#undef AT

}  // namespace kvmtdx::abi
