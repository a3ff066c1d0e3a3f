# A Trust Domain that gives up: it tells its host why, TDG.VP.VMCALL<ReportFatalError>, and the host ends it (KVM_EXIT_SYSTEM_EVENT,
# KVM_SYSTEM_EVENT_TDX_FATAL). For what the rest means, read minimal.S first.

        .include "tdx.inc"
        .include "long-mode.inc"

# Error code: 31:0 are the TD's own (0: panic), bit 63 says that R13 is the address of more text in shared memory.
        .set    PANIC, 0
# Up to 64 bytes of text, eight to a register: R14, R15, RBX, RDI, RSI, R8, R9, RDX. All these the host may see.
        .set    VMCALL_FATAL, VMCALL_R10_R15 + 0x3cc

        .org    0x5000, 0xcc
start64:
        testl   %esi, %esi                              # the index of this vCPU
        jz      1f
        jump    park
1:      movq    text(%rip), %r14
        movq    text + 8(%rip), %r15
        movq    text + 16(%rip), %rbx
        movq    text + 24(%rip), %rdi
        movq    text + 32(%rip), %rsi
        movq    text + 40(%rip), %r8
        movq    text + 48(%rip), %r9
        movq    text + 56(%rip), %rdx
        movl    $VMCALL_FATAL, %ecx
        xorl    %r10d, %r10d
        movl    $VMCALL_REPORT_FATAL_ERROR, %r11d
        movl    $PANIC, %r12d
        xorl    %r13d, %r13d
        xorl    %eax, %eax                              # TDG_VP_VMCALL
        tdcall_
        jump    park                                    # a host that lets it live

text:   .asciz  "This Trust Domain ends here, and meant to."
        .balign 64, 0

        .include "tdvf.inc"
