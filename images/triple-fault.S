# A Trust Domain that ends in a triple fault (KVM_EXIT_SHUTDOWN), by the mistake that is made first: to talk to the console as on
# a PC. In a TD, OUT raises #VE; here is no interrupt descriptor table to handle it, nor the #GP and #DF that follow. The byte
# never reaches the host. For what the rest means, read minimal.S first.

        .include "tdx.inc"

        .text
image:
        .code32
start32:
        movl    $CONSOLE_PORT, %edx
        movb    $'!', %al
        outb    %al, %dx

        .include "tdvf.inc"
