# A minimal Trust Domain, the whole of it: 64 KiB that end at 4 GiB.
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
#  - Instructions that a plain VM would leave to its host (IN, OUT, HLT, most of CPUID, RDMSR) raise #VE in a TD, exception
#    20. A TD that knows what it wants calls VMCALL instead, as this one does.
#
# What it does: long mode; TDG.VP.INFO; a greeting on the console, port 0x3f8; 0 to the exit port, 0xf4 (1: a TDCALL was
# refused, 2: an exception). vCPUs other than 0 are parked. An exception is told on the console.
#
# It is also a valid TDVF image, so that VMMs made for firmware take it: see "TDVF metadata" at the end.
#
# Built by scripts/build-images.mjs with the GNU assembler and linker. Padding and jumps are written such that every version of them
# gives the same bytes; a test compares them with images/minimal.bin.

        .set    IMAGE_SIZE, 0x10000
        .set    IMAGE_BASE, 0x100000000 - IMAGE_SIZE    # minimal.ld places the image there

# Memory that the metadata asks the host for: zeroed, unmeasured.
        .set    HOB_BASE, 0x9000
        .set    HOB_SIZE, 0x1000
        .set    TEMP_BASE, 0x10000                      # stack from its end downwards; the start is for buffers
        .set    TEMP_SIZE, 0x4000
        .set    STACK_TOP, TEMP_BASE + TEMP_SIZE

        .set    CONSOLE_PORT, 0x3f8
        .set    EXIT_PORT, 0xf4
        .set    EXIT_DONE, 0
        .set    EXIT_REFUSED, 1
        .set    EXIT_EXCEPTION, 2

# TDCALL leaves (Intel TDX module ABI) and TDG.VP.VMCALL sub-functions (GHCI), which are VMX exit reasons where there is one.
        .set    TDG_VP_VMCALL, 0
        .set    TDG_VP_INFO, 1
        .set    TDG_VP_VEINFO_GET, 3
        .set    VMCALL_HLT, 12
        .set    VMCALL_IO, 30
# RCX of a VMCALL says which registers the host may see and change: R10 to R15.
        .set    VMCALL_R10_R15, 0xfc00

        .set    CODE64, 8                               # selectors of the GDT below
        .set    DATA, 16
        .set    VECTORS, 32
        .set    VE_VECTOR, 20

        .macro  tdcall_                                 # older assemblers do not know the mnemonic
        .byte   0x66, 0x0f, 0x01, 0xcc
        .endm

        .text
image:

# ---------------------------------------------------------------------------------------------------------------------
# Page tables: the identity map of the first GiB (RAM) and of the last GiB below 4 GiB (this image), in 2 MiB pages.
# They are part of the measured image; Accessed and Dirty are set, so the processor never writes to them.

        .set    TABLE, 0x23                             # Present, Writable, Accessed
        .set    PAGE_2M, 0xe3                           # and Dirty, Page Size
        .set    TOP_GIB, 0xc0000000

pml4:   .quad   pdpt + TABLE
        .org    0x1000, 0
pdpt:   .quad   pd_first + TABLE, 0, 0, pd_last + TABLE
        .org    0x2000, 0

        .macro  two_mib_pages from
        .set    page, \from
        .rept   512
        .quad   page + PAGE_2M
        .set    page, page + 0x200000
        .endr
        .endm

pd_first:
        two_mib_pages 0
pd_last:
        two_mib_pages TOP_GIB

# ---------------------------------------------------------------------------------------------------------------------
# Descriptor tables.

        .org    0x4000, 0
gdt:    .quad   0
        .quad   0x00af9b000000ffff                      # CODE64: 64-bit, ring 0, accessed
        .quad   0x00cf93000000ffff                      # DATA: flat, ring 0, accessed
gdt_end:
gdt_pointer:                                            # loaded in 32-bit mode: the base has 32 bits
        .word   gdt_end - gdt - 1
        .long   gdt

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

# ---------------------------------------------------------------------------------------------------------------------
# Exception stubs: one per vector, all leave the stack as: vector, error code, RIP, CS, RFLAGS, RSP, SS.

        .org    0x4400, 0
        .set    STUBS, 0x4400
        .code64
        .macro  stub vector
        .if     \vector == 8 || (\vector >= 10 && \vector <= 14) || \vector == 17 || \vector == 21 || \vector == 29 || \vector == 30
        # the processor has pushed an error code
        .else
        pushq   $0
        .endif
        pushq   $\vector
        .byte   0xe9                                    # jmp exception, always in the long form
        .long   exception - (. + 4)
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
# From the reset vector to 64-bit mode. No stack, no IDT yet: anything that faults here ends the TD (a triple fault).

        .org    0x5000, 0xcc
        .code32
start32:
        lgdtl   %cs:gdt_pointer

        movl    %cr4, %eax                              # keep CR4.MCE: the module insists on it
        orl     $0x20, %eax                             # PAE
        movl    %eax, %cr4
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    %cr0, %eax
        orl     $0x80000000, %eax                       # PG; with EFER.LME set this is long mode
        movl    %eax, %cr0
        ljmpl   $CODE64, $start64

        .code64
start64:
        movl    $DATA, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        testl   %esi, %esi                              # vCPU index
        jnz     park
        movl    $STACK_TOP, %esp
        lidt    idt_pointer(%rip)

# ---------------------------------------------------------------------------------------------------------------------
# The program.

main:
        movl    $TDG_VP_INFO, %eax
        tdcall_
        testq   %rax, %rax
        jnz     refused
        pushq   %rdx                                    # ATTRIBUTES
        pushq   %r8                                     # 31:0 vCPUs, 63:32 at most
        andl    $0x3f, %ecx                             # GPAW
        pushq   %rcx

        leaq    text_gpaw(%rip), %rsi
        call    print_text
        popq    %rdi
        call    print_decimal
        leaq    text_vcpus(%rip), %rsi
        call    print_text
        movl    (%rsp), %edi
        call    print_decimal
        leaq    text_of(%rip), %rsi
        call    print_text
        popq    %rdi
        shrq    $32, %rdi
        call    print_decimal
        leaq    text_attributes(%rip), %rsi
        call    print_text
        popq    %rdi
        call    print_hex
        leaq    text_end(%rip), %rsi
        call    print_text

        movl    $EXIT_DONE, %edi
# Ends the TD with the status in EDI; the host stops running it.
exit:
        movl    $EXIT_PORT, %r14d
        movl    %edi, %r15d
        call    out_byte
# Nothing more to do: waits in the host, with interrupts blocked, for ever. Uses no stack: vCPUs may share it.
park:
        movl    $VMCALL_R10_R15, %ecx
        xorl    %r10d, %r10d
        movl    $VMCALL_HLT, %r11d
        movl    $1, %r12d                               # interrupts are blocked
        xorl    %eax, %eax                              # TDG_VP_VMCALL
        tdcall_
        pause
        jmp     park

# ---------------------------------------------------------------------------------------------------------------------
# Output. R10 to R15, RAX, RCX are lost in a VMCALL; all else is kept, so RSI, RDI, RBX and RBP hold the state.

# Writes the byte in R15 to the port in R14: TDG.VP.VMCALL<IO>.
out_byte:
        movl    $VMCALL_R10_R15, %ecx
        xorl    %r10d, %r10d                            # 0: a sub-function of the GHCI
        movl    $VMCALL_IO, %r11d
        movl    $1, %r12d                               # bytes
        movl    $1, %r13d                               # write
        xorl    %eax, %eax                              # TDG_VP_VMCALL
        tdcall_
        orq     %r10, %rax                              # RAX: the module's answer, R10: the host's
        jnz     refused
        ret

print_char:                                             # the character is in R15
        movl    $CONSOLE_PORT, %r14d
        jmp     out_byte

print_text:                                             # RSI, ends with 0
        movzbl  (%rsi), %r15d
        testl   %r15d, %r15d
        jz      1f
        call    print_char
        incq    %rsi
        jmp     print_text
1:      ret

print_hex:                                              # RDI, 16 digits
        movl    $16, %ebx
1:      rolq    $4, %rdi
        movl    %edi, %eax
        andl    $15, %eax
        leaq    digits(%rip), %rdx
        movzbl  (%rdx,%rax), %r15d
        call    print_char
        decl    %ebx
        jnz     1b
        ret

print_decimal:                                          # RDI
        movq    %rdi, %rax
        xorl    %ebx, %ebx                              # digits on the stack
        movl    $10, %edi
1:      xorl    %edx, %edx
        divq    %rdi
        pushq   %rdx
        incl    %ebx
        testq   %rax, %rax
        jnz     1b
2:      popq    %r15
        addl    $'0', %r15d
        call    print_char
        decl    %ebx
        jnz     2b
        ret

# A TDCALL was refused. The console may be what is refused, so only the exit port is tried, once, without a check.
refused:
        movl    $VMCALL_R10_R15, %ecx
        xorl    %r10d, %r10d
        movl    $VMCALL_IO, %r11d
        movl    $1, %r12d
        movl    $1, %r13d
        movl    $EXIT_PORT, %r14d
        movl    $EXIT_REFUSED, %r15d
        xorl    %eax, %eax
        tdcall_
        jmp     park

# ---------------------------------------------------------------------------------------------------------------------
# Exceptions. None is expected: each is told and ends the TD. For #VE the module says what the instruction wanted
# (TDG.VP.VEINFO.GET); until that is asked, a second #VE would become a double fault.

exception:
        cld
        leaq    text_exception(%rip), %rsi
        call    print_text
        movq    (%rsp), %rdi
        call    print_decimal
        cmpl    $VE_VECTOR, (%rsp)
        jne     1f
        movl    $TDG_VP_VEINFO_GET, %eax
        tdcall_
        testq   %rax, %rax
        jnz     refused
        pushq   %rcx                                    # exit reason
        leaq    text_reason(%rip), %rsi
        call    print_text
        popq    %rdi
        call    print_decimal
1:      leaq    text_error(%rip), %rsi
        call    print_text
        movq    8(%rsp), %rdi
        call    print_hex
        leaq    text_rip(%rip), %rsi
        call    print_text
        movq    16(%rsp), %rdi
        call    print_hex
        leaq    text_end(%rip), %rsi
        call    print_text
        movl    $EXIT_EXCEPTION, %edi
        jmp     exit

digits: .ascii  "0123456789abcdef"
text_gpaw:
        .asciz  "Hello from a Trust Domain: GPAW "
text_vcpus:
        .asciz  ", vCPUs "
text_of:
        .asciz  " of at most "
text_attributes:
        .asciz  ", attributes 0x"
text_exception:
        .asciz  "\nException "
text_reason:
        .asciz  ", exit reason "
text_error:
        .asciz  ", error code 0x"
text_rip:
        .asciz  ", at 0x"
text_end:
        .asciz  "\n"

# ---------------------------------------------------------------------------------------------------------------------
# TDVF metadata: which parts of this file go where, in which order the host adds them, and which are measured.
# (Intel TDX Virtual Firmware Design Guide; the GUID before the descriptor is td-shim's.)

        .org    0xfe00, 0
        .long   0xe9eaf9f3                              # e9eaf9f3-168e-44d5-a8eb-7f4d8738f6ae
        .word   0x168e, 0x44d5
        .byte   0xa8, 0xeb, 0x7f, 0x4d, 0x87, 0x38, 0xf6, 0xae
descriptor:
        .ascii  "TDVF"
        .long   descriptor_end - descriptor
        .long   1                                       # version
        .long   (descriptor_end - sections) / 32

        .set    BFV, 0                                  # firmware, from the file
        .set    TD_HOB, 2                               # where the host describes the memory
        .set    TEMP_MEM, 3
        .set    MR_EXTEND, 1                            # attribute: the content is measured

        .macro  section data_offset, raw_size, address, size, type, attributes
        .long   \data_offset, \raw_size
        .quad   \address, \size
        .long   \type, \attributes
        .endm
sections:
        section 0, IMAGE_SIZE, IMAGE_BASE, IMAGE_SIZE, BFV, MR_EXTEND
        section 0, 0, TEMP_BASE, TEMP_SIZE, TEMP_MEM, 0
        section 0, 0, HOB_BASE, HOB_SIZE, TD_HOB, 0
descriptor_end:

# The table of GUIDs that OVMF has at its end; it is read backwards, from its footer.

        .org    IMAGE_SIZE - 0x48, 0
guid_table:
        .long   IMAGE_SIZE - (descriptor - image)       # TDX metadata: its distance from the end
        .word   22
        .long   0xe47a6535                              # e47a6535-984a-4798-865e-4685a7bf8ec2
        .word   0x984a, 0x4798
        .byte   0x86, 0x5e, 0x46, 0x85, 0xa7, 0xbf, 0x8e, 0xc2
        .word   guid_table_end - guid_table
        .long   0x96b582de                              # 96b582de-1fb2-45f7-baea-a366c55a082d, the footer
        .word   0x1fb2, 0x45f7
        .byte   0xba, 0xea, 0xa3, 0x66, 0xc5, 0x5a, 0x08, 0x2d
guid_table_end:

        .org    IMAGE_SIZE - 0x20, 0
        .long   descriptor - image                      # the older way to the metadata, from the start of the file

# ---------------------------------------------------------------------------------------------------------------------
# The reset vector, 0xfffffff0.

        .org    IMAGE_SIZE - 0x10, 0
        .code32
        .byte   0xe9                                    # jmp start32, always in the long form
        .long   start32 - (. + 4)
        .org    IMAGE_SIZE, 0x90
