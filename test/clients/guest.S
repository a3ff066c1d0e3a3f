# What the clients' TDs run: page tables and one page of code, the last 16 KiB below 4 GiB.
# A TD's vCPU starts at 0xfffffff0 in 32-bit protected mode, flat, EFER.LME set; RCX and R8 are what KVM_TDX_INIT_VCPU gave:
# here the number of the program (enum guest of client.h). No stack, no interrupts.

        .set    BASE, 0x100000000 - 0x4000
        .set    TABLE, 0x23                     # present, writable, accessed
        .set    PAGE_2M, 0xe3                   # and dirty, 2 MiB
        .set    TEST_PORT, 0x50
        .set    EXIT_PORT, 0xf4
# RCX of a VMCALL says which registers the host may see: bit n is register n, RAX, RCX, RSP and RBP are not for it.
        .set    VMCALL_R10_R15, 0xfc00
        .set    VMCALL_ALL, 0xffcc

        .macro  tdcall_
        .byte   0x66, 0x0f, 0x01, 0xcc
        .endm

# TDG.VP.VMCALL<IO>: byte in R15 out, or in to R11. Loses RAX, RCX, R10 to R15.
        .macro  port_ number, write
        movl    $VMCALL_R10_R15, %ecx
        xorl    %r10d, %r10d
        movl    $30, %r11d
        movl    $1, %r12d
        movl    $\write, %r13d
        movl    $\number, %r14d
        xorl    %eax, %eax
        tdcall_
        orq     %r10, %rax
        jnz     park
        .endm

        .section .rodata
        .globl  guest_image, guest_image_end
        .balign 4096
guest_image:
        .quad   BASE + 0x1000 + TABLE           # PML4
        .org    0x1000
        .quad   0, 0, 0, BASE + 0x2000 + TABLE  # PDPT: the GiB below 4 GiB
        .org    0x2000 + 511 * 8
        .quad   0xffe00000 + PAGE_2M            # PD: its last 2 MiB

        .org    0x3000
        .code32
start32:
        lgdtl   %cs:(BASE + gdt_pointer - guest_image)
        movl    %cr4, %eax
        orl     $0x20, %eax                     # PAE
        movl    %eax, %cr4
        movl    $BASE, %eax
        movl    %eax, %cr3
        movl    %cr0, %eax
        orl     $0x80000000, %eax               # PG: long mode
        movl    %eax, %cr0
        ljmpl   $8, $(BASE + start64 - guest_image)

        .code64
start64:
        cmpl    $1, %r8d
        je      ports
        cmpl    $2, %r8d
        je      fatal
        cmpl    $3, %r8d
        je      spin
        cmpl    $4, %r8d
        je      park
        xorl    %r15d, %r15d                    # program 0: says 0 and is done
        jmp     done

# Writes 0xab to the test port, reads it, says what it read.
ports:
        movl    $0xab, %r15d
        port_   TEST_PORT, 1
        xorl    %r15d, %r15d
        port_   TEST_PORT, 0
        movzbl  %r11b, %r15d
done:
        port_   EXIT_PORT, 1
park:
        movl    $VMCALL_R10_R15, %ecx           # TDG.VP.VMCALL<HLT>, interrupts blocked
        xorl    %r10d, %r10d
        movl    $12, %r11d
        movl    $1, %r12d
        xorl    %eax, %eax
        tdcall_
        jmp     park

# TDG.VP.VMCALL<ReportFatalError>.
fatal:
        movl    $VMCALL_ALL, %ecx
        xorl    %r10d, %r10d
        movl    $0x10003, %r11d
        movl    $0x0baaaaad, %r12d
        xorl    %r13d, %r13d
        xorl    %eax, %eax
        tdcall_
        jmp     park

spin:
        pause
        jmp     spin

        .balign 8
gdt:    .quad   0
        .quad   0x00af9b000000ffff              # 64-bit code
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   BASE + gdt - guest_image

        .org    0x3ff0
        .code32
        .byte   0xe9                            # the reset vector: jmp start32
        .long   start32 - (. + 4)
        .org    0x4000
guest_image_end:
        .section .note.GNU-stack,"",@progbits
