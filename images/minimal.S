# The minimal Trust Domain: what a TD can do that a plain VM cannot, once each, and nothing else.
#
# What to know before reading, if TDX is new:
#  - A Trust Domain (TD) is a virtual machine whose memory and registers its host cannot read. Between the two stands the
#    TDX module. What the host put into the TD at the start is measured: MRTD is the hash of it.
#  - A TD does not start like a PC. Every vCPU starts in 32-bit protected mode (not in real mode), segments flat, at
#    0xfffffff0. EFER.LME is already set. There is no INIT or SIPI: the host runs all vCPUs, and all start there.
#    EBX = GPAW (48 or 52: width of guest physical addresses), ESI = index of the vCPU, RCX = R8 = a value from the host
#    (by convention the address of the TD HOB). The host is not trusted: nothing from it is used here unchecked.
#  - The TD asks the module by the instruction TDCALL, leaf number in RAX, status back in RAX (0 is success). Leaf 0,
#    TDG.VP.VMCALL, goes through to the host. TDCALL works in 64-bit mode only (else #GP), so getting there comes first.
#  - Instructions that a plain VM would leave to its host (IN, OUT, HLT, some of CPUID, RDMSR) raise #VE in a TD, exception
#    20: the TD decides what the host gets to know, and what to believe of its answer.
#
# What it does, each with a line on the console (port 0x3f8): TDG.VP.INFO; CPUID, answered by the module, and by the host after
# a #VE; accepts a page; extends RTMR 2; gets a TDREPORT. Then a status to the exit port (0xf4): 0 done, 1 a TDCALL was refused,
# 2 an exception that it does not handle. vCPUs other than 0 are parked.
#
# It is also a valid TDVF image, so that VMMs made for firmware take it: see tdvf.inc.
#
# Built by scripts/build-images.mjs with the GNU assembler and linker. Padding and jumps are written such that every version of
# them gives the same bytes; a test compares them with images/minimal.bin.

        .include "tdx.inc"
        .include "long-mode.inc"                        # begins at the reset vector, ends at start64

        .set    EXIT_DONE, 0
        .set    EXIT_REFUSED, 1
        .set    EXIT_EXCEPTION, 2

# Buffers. The module wants them aligned, so that none crosses a page.
        .set    TDREPORT, TEMP_BASE                     # 1024 bytes
        .set    VE_COUNT, TEMP_BASE + 0x400             # #VEs handled so far

# RAM that the host did not add before the start. Any machine has it: below 640 KiB.
        .set    UNACCEPTED_PAGE, 0x80000

# ---------------------------------------------------------------------------------------------------------------------
# The interrupt descriptor table.

        .set    VECTORS, 32
        .set    VE_VECTOR, 20

        .org    0x4100, 0
# A gate holds its handler's address in three pieces; the stubs are 16 bytes apart so that it can be computed here.
        .macro  gate address
        .word   (\address) & 0xffff
        .word   CODE64
        .word   0x8e00                                  # present, interrupt gate
        .word   ((\address) >> 16) & 0xffff
        .quad   0
        .endm

idt:
        .set    vector, 0
        .rept   VECTORS
        gate    (IMAGE_BASE + STUBS + 16 * vector)
        .set    vector, vector + 1
        .endr
idt_end:
idt_pointer:                                            # loaded in 64-bit mode
        .word   idt_end - idt - 1
        .quad   idt

# Exception stubs: one per vector, all leave the stack as: vector, error code, RIP, CS, RFLAGS, RSP, SS.

        .org    0x4400, 0
        .set    STUBS, 0x4400
        .macro  stub vector
        .if     \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30
        # the processor has pushed an error code
        .else
        pushq   $0
        .endif
        pushq   $\vector
        jump    exception
        .balign 16, 0xcc
        .endm

        .altmacro
        .set    vector, 0
        .rept   VECTORS
        stub    %vector
        .set    vector, vector + 1
        .endr
        .noaltmacro

# ---------------------------------------------------------------------------------------------------------------------
# The program.

        .org    0x5000, 0xcc
        .include "console.inc"

start64:
        testl   %esi, %esi                              # the index of this vCPU
        jz      1f
        jump    park
1:      movl    $STACK_TOP, %esp
        lidt    idt_pointer(%rip)

        call    greet
        call    ask_cpuid
        call    accept_page
        call    extend_rtmr
        call    report

        movl    $EXIT_DONE, %edi
        jump    exit

# What the module knows of this TD.
greet:
        movl    $TDG_VP_INFO, %eax
        call    tdcall_or_end
        pushq   %rdx                                    # ATTRIBUTES
        pushq   %r8                                     # 31:0 vCPUs, 63:32 at most
        andl    $0x3f, %ecx                             # GPAW
        pushq   %rcx
        print   "Hello from a Trust Domain: GPAW "
        popq    %rdi
        call    print_decimal
        print   ", vCPUs "
        movl    (%rsp), %edi
        call    print_decimal
        print   " of at most "
        popq    %rdi
        shrq    $32, %rdi
        call    print_decimal
        print   ", attributes 0x"
        popq    %rdi
        call    print_hex64
        print   "\n"
        ret

# Leaf 0x21 is the module's own: it says that this is a TD. 0x40000000 and above are the host's: #VE, in every version of the
# module, and the handler below asks it.
ask_cpuid:
        movl    $0x21, %eax
        xorl    %ecx, %ecx
        cpuid
        movl    $TEMP_BASE, %esi                        # the name is in EBX, EDX, ECX
        movl    %ebx, (%rsi)
        movl    %edx, 4(%rsi)
        movl    %ecx, 8(%rsi)
        print   "CPUID 0x21 from the module: '"
        movl    $TEMP_BASE, %esi
        movl    $12, %ebx
        call    print_chars
        print   "'\n"

        movl    $0x40000000, %eax
        xorl    %ecx, %ecx
        cpuid
        pushq   %rdx
        pushq   %rcx
        pushq   %rbx
        pushq   %rax
        print   "CPUID 0x40000000 from the host, after "
        movl    VE_COUNT, %edi
        call    print_decimal
        print   " #VE: EAX 0x"
        popq    %rdi
        call    print_hex32
        print   ", EBX 0x"
        popq    %rdi
        call    print_hex32
        print   ", ECX 0x"
        popq    %rdi
        call    print_hex32
        print   ", EDX 0x"
        popq    %rdi
        call    print_hex32
        print   "\n"
        ret

# Memory that the host adds to a running TD is out of reach until the TD accepts it: so the host cannot slip in, or exchange, a
# page unnoticed. There need not be a page yet: then TDG.MEM.PAGE.ACCEPT leaves to the host, which adds one (TDH.MEM.PAGE.AUG),
# and is executed again.
accept_page:
        .set    OPERAND_BUSY, 0x80000200                # bits 63:32 of the status: what happened
        .set    PAGE_ALREADY_ACCEPTED, 0x00000b0a

1:      movl    $UNACCEPTED_PAGE, %ecx                  # bits 2:0: level, 0 is 4 KiB
        movl    $TDG_MEM_PAGE_ACCEPT, %eax
        tdcall_
        movq    %rax, %rdx
        shrq    $32, %rdx
        jz      2f
        cmpl    $OPERAND_BUSY, %edx                     # the host is at the same page: again
        je      1b
        cmpl    $PAGE_ALREADY_ACCEPTED, %edx            # the host has added it before the start; it is no secret then
        je      3f
        movl    $TDG_MEM_PAGE_ACCEPT, %edi
        jump    refused

2:      movl    $UNACCEPTED_PAGE, %esi                  # the module has cleared it
        xorl    %eax, %eax
        movl    $512, %ecx
4:      orq     -8(%rsi,%rcx,8), %rax
        decl    %ecx
        jnz     4b
        pushq   %rax
        print   "Page 0x80000 accepted: "
        popq    %rax
        testq   %rax, %rax
        jz      5f
        print   "not "
5:      print   "zero, "
        movl    $UNACCEPTED_PAGE, %esi
        movl    $0x5ec2e75, %eax
        movl    %eax, 4092(%rsi)
        cmpl    4092(%rsi), %eax
        je      6f
        print   "not "
6:      print   "written and read\n"
        ret

3:      print   "Page 0x80000 was accepted before\n"
        ret

# RTMRs are measurement registers of the TD itself: RTMR 2 becomes SHA-384 of what it was (48 bytes) and 48 bytes more. They
# are mostly the SHA-384 of something; these are a text.
extend_rtmr:
        leaq    rtmr_value(%rip), %rcx
        movl    $2, %edx
        movl    $TDG_MR_RTMR_EXTEND, %eax
        jump    tdcall_or_end

# A TDREPORT: what this TD is, as the module says it, with a MAC that the module of the same machine can check. It carries 64
# bytes that the TD chooses: usually the hash of a key or a nonce of whoever asked.
report:
        .set    REPORT_MRTD, TDREPORT + 512 + 16        # TDINFO_STRUCT is at 512
        .set    REPORT_RTMR2, TDREPORT + 512 + 304

        movl    $TDREPORT, %ecx
        leaq    report_data(%rip), %rdx
        xorl    %r8d, %r8d                              # type
        movl    $TDG_MR_REPORT, %eax
        call    tdcall_or_end
        print   "MRTD "
        movl    $REPORT_MRTD, %esi
        call    print_hash
        print   "RTMR2 "
        movl    $REPORT_RTMR2, %esi
print_hash:
        movl    $48, %ebp
        call    print_bytes
        print   "\n"
        ret

# TDCALL of the leaf in RAX. Comes back only if the module did it.
tdcall_or_end:
        movl    %eax, %edi
        tdcall_
        testq   %rax, %rax
        jnz     refused
        ret

# Leaf in EDI, status in RAX.
refused:
        pushq   %rax
        pushq   %rdi
        print   "\nTDCALL "
        popq    %rdi
        call    print_decimal
        print   " refused: 0x"
        popq    %rdi
        call    print_hex64
        print   "\n"
        movl    $EXIT_REFUSED, %edi
        jump    exit

# ---------------------------------------------------------------------------------------------------------------------
# Exceptions. #VE of CPUID is handled; every other is told and ends the TD.
#
# For a #VE the module keeps what the instruction wanted until TDG.VP.VEINFO.GET fetches it. Until then a second #VE would
# become a double fault, so that comes before anything that might raise one.

        .set    EXIT_REASON_CPUID, 10

# The stack: registers pushed here, then what the stub left.
        .set    SAVED_RDX, 0
        .set    SAVED_RCX, 8
        .set    SAVED_RBX, 16
        .set    SAVED_RAX, 24
        .set    VECTOR, 15 * 8
        .set    ERROR_CODE, VECTOR + 8
        .set    RETURN_RIP, VECTOR + 16

exception:
        cld
        pushq   %r15
        pushq   %r14
        pushq   %r13
        pushq   %r12
        pushq   %r11
        pushq   %r10
        pushq   %r9
        pushq   %r8
        pushq   %rbp
        pushq   %rdi
        pushq   %rsi
        pushq   %rax
        pushq   %rbx
        pushq   %rcx
        pushq   %rdx
        cmpl    $VE_VECTOR, VECTOR(%rsp)
        jne     unexpected

        movl    $TDG_VP_VEINFO_GET, %eax
        call    tdcall_or_end
        movl    %r10d, %ebx                             # length of the instruction
        movl    %ecx, %ebp                              # VMX exit reason
        cmpl    $EXIT_REASON_CPUID, %ebp
        jne     unexpected

# The host's CPUID. It answers what it likes: a TD must not rely on it for anything that matters.
        movl    $VMCALL_R10_R15, %ecx
        xorl    %r10d, %r10d
        movl    $VMCALL_CPUID, %r11d
        movl    SAVED_RAX(%rsp), %r12d                  # leaf
        movl    SAVED_RCX(%rsp), %r13d                  # sub-leaf
        xorl    %eax, %eax                              # TDG_VP_VMCALL
        xorl    %edi, %edi
        tdcall_
        orq     %r10, %rax                              # RAX: the module's answer, R10: the host's
        jnz     refused

        movl    %r12d, %r12d                            # 32 bits of each, whatever the host wrote above
        movq    %r12, SAVED_RAX(%rsp)
        movl    %r13d, %r13d
        movq    %r13, SAVED_RBX(%rsp)
        movl    %r14d, %r14d
        movq    %r14, SAVED_RCX(%rsp)
        movl    %r15d, %r15d
        movq    %r15, SAVED_RDX(%rsp)
        addq    %rbx, RETURN_RIP(%rsp)                  # done: go on after it
        incl    VE_COUNT

        popq    %rdx
        popq    %rcx
        popq    %rbx
        popq    %rax
        popq    %rsi
        popq    %rdi
        popq    %rbp
        popq    %r8
        popq    %r9
        popq    %r10
        popq    %r11
        popq    %r12
        popq    %r13
        popq    %r14
        popq    %r15
        addq    $16, %rsp                               # vector, error code
        iretq

unexpected:
        print   "\nException "
        movl    VECTOR(%rsp), %edi
        call    print_decimal
        cmpl    $VE_VECTOR, VECTOR(%rsp)
        jne     1f
        print   ", exit reason "
        movl    %ebp, %edi
        call    print_decimal
1:      print   ", error code 0x"
        movq    ERROR_CODE(%rsp), %rdi
        call    print_hex64
        print   ", at 0x"
        movq    RETURN_RIP(%rsp), %rdi
        call    print_hex64
        print   "\n"
        movl    $EXIT_EXCEPTION, %edi
        jump    exit

# ---------------------------------------------------------------------------------------------------------------------
# Inputs of the module, aligned to 64 bytes as it wants them.

        .balign 64, 0
rtmr_value:                                             # 48 bytes
        .ascii  "kvm-tdx: the minimal TD extends RTMR 2 by this. "
        .balign 64, 0
report_data:                                            # 64 bytes
        .ascii  "kvm-tdx: the minimal TD asked for this report.                  "

        .include "tdvf.inc"
