// class  code  count  size  host-read host-write debug-read debug-write  name
// Numbers hexadecimal but for count; size 0 to 3: 1, 2, 4, 8 bytes; masks: * all bits, - none. Source: auto_gen/td_vmcs_fields_lookup.c.

/** Fields of the TD VMCS (class 0); codes are VMCS encodings, two apart. */
export const VMCS_FIELDS = `
0 0 1 1 - - * - VPID
0 2 1 1 * * * * Posted-interrupt notification vector
0 4 1 1 - - * - EPTP index
0 6 1 1 - - * - HLAT prefix size
0 800 1 1 - - * * Guest ES selector
0 802 1 1 - - * * Guest CS selector
0 804 1 1 - - * * Guest SS selector
0 806 1 1 - - * * Guest DS selector
0 808 1 1 - - * * Guest FS selector
0 80a 1 1 - - * * Guest GS selector
0 80c 1 1 - - * * Guest LDTR selector
0 80e 1 1 - - * * Guest TR selector
0 810 1 1 - - * * Guest Interrupt Status
0 812 1 1 - - * * PML Index
0 814 1 1 - - * * Guest UINV
0 2000 2 3 - - * - I/O-Bitmap Address n
0 2004 1 3 * - * - MSR-Bitmap Address
0 2006 1 3 - - * - VM-exit MSR-store address
0 2008 1 3 - - * - VM-exit MSR-load address
0 200a 1 3 - - * - VM-entry MSR-load address
0 200c 1 3 - - - - Executive-VMCS Pointer
0 200e 1 3 * - * fffffffffffff000 PML address
0 2010 1 3 * - * * Time-Stamp Counter Offset
0 2012 1 3 - - - - Virtual-APIC address
0 2014 1 3 - - * - APIC-access address
0 2016 1 3 * ffffffffffffffc0 * ffffffffffffffc0 Posted-interrupt descriptor address
0 2018 1 3 * - * - VM-Function Controls
0 201a 1 3 * - * - EPTP
0 201c 4 3 - - * - EOI-exit bitmap n
0 2024 1 3 * - * - EPTP-list address
0 2026 1 3 - - * - VMREAD-bitmap address
0 2028 1 3 - - * - VMWRITE-bitmap address
0 202a 1 3 - - * - Virtualization-exception information address
0 202c 1 3 - - * * XSS-Exiting Bitmap
0 202e 1 3 - - * - ENCLS-Exiting Bitmap
0 2032 1 3 * - * * Time-Stamp Counter Multiplier
0 2034 1 3 - - * 1 Tertiary Processor-Based VM-Exection Controls
0 2036 1 3 - - * - ENCLV-Exiting Bitmap
0 2038 1 3 - - * - low PASID directory address
0 203a 1 3 - - * - high PASID directory address
0 203c 1 3 ffffffffff000 ffffffffff000 * ffffffffff000 Shared EPTP
0 203e 1 3 - - * - PCONFIG-Exiting Bitmap
0 2040 1 3 - - * - HLAT pointer
0 204a 1 3 - - * - IA32_SPEC_CTRL mask
0 204c 1 3 - - * - IA32_SPEC_CTRL shadow
0 2400 1 3 - - * - Guest-physical Address
0 2800 1 3 - - - - VMCS Link Pointer
0 2802 1 3 - - * ffc7 IA32_DEBUGCTL
0 2804 1 3 - - * * IA32_PAT
0 2806 1 3 - - * * IA32_EFER
0 2808 1 3 - - * * IA32_PERF_GLOBAL_CTRL
0 280a 4 3 - - * - PDPTEn
0 2814 1 3 - - * * IA32_RTIT_CTL
0 2816 1 3 - - * * IA32_LBR_CTL
0 2818 1 3 - - * * IA32_GUEST_PKRS
0 4000 1 2 80 80 * 80 Pin-Based VM-Exection Controls
0 4002 1 2 - - * 69999a04 Primary Processor-Based VM-Exection Controls
0 4004 1 2 - - * fffbffff Exception Bitmap
0 4006 1 2 - - * * Page-fault error-code mask
0 4008 1 2 - - * * Page-fault error-code match
0 400a 1 2 - - * * CR3-Target Count
0 400c 1 2 - - * - VM-Exit Controls
0 400e 1 2 - - * - VM-exit MSR-store count
0 4010 1 2 - - * - VM-exit MSR-load count
0 4012 1 2 - - * - VM-Entry Controls
0 4014 1 2 - - * - VM-entry MSR-load count
0 4016 1 2 - - * - VM-entry interruption information
0 4018 1 2 - - * - VM-entry exception error code
0 401a 1 2 - - * - VM-entry instruction length
0 401c 1 2 - - * - TPR threshold
0 401e 1 2 c0000000 c0000000 * c0130c04 Secondary Processor-Based VM-Exection Controls
0 4020 1 2 * - * * PLE_GAP
0 4022 1 2 * - * * PLE_Window
0 4024 1 2 * * * * Instruction Timeout Control
0 4026 1 2 * - * - TD HKID
0 4400 1 2 - - * - VM-instruction error
0 4402 1 2 - - * - Exit reason
0 4404 1 2 - - * - VM-exit interruption information
0 4406 1 2 - - * - VM-exit interruption error code
0 4408 1 2 - - * - IDT-vectoring information
0 440a 1 2 - - * - IDT-vectoring error code
0 440c 1 2 - - * - VM-exit instruction length
0 440e 1 2 - - * - VM-exit instruction information
0 4800 1 2 - - * * Guest ES limit
0 4802 1 2 - - * * Guest CS limit
0 4804 1 2 - - * * Guest SS limit
0 4806 1 2 - - * * Guest DS limit
0 4808 1 2 - - * * Guest FS limit
0 480a 1 2 - - * * Guest GS limit
0 480c 1 2 - - * * Guest LDTR limit
0 480e 1 2 - - * * Guest TR limit
0 4810 1 2 - - * * Guest GDTR limit
0 4812 1 2 - - * * Guest IDTR limit
0 4814 1 2 - - * * Guest ES access rights
0 4816 1 2 - - * * Guest CS access rights
0 4818 1 2 - - * * Guest SS access rights
0 481a 1 2 - - * * Guest DS access rights
0 481c 1 2 - - * * Guest FS access rights
0 481e 1 2 - - * * Guest GS access rights
0 4820 1 2 - - * * Guest LDTR access rights
0 4822 1 2 - - * * Guest TR access rights
0 4824 1 2 - - * * Interruptibility State
0 4826 1 2 - - * - Activity State
0 4828 1 2 - - - - Guest SMBASE
0 482a 1 2 - - * * IA32_SYSENTER_CS
0 482e 1 2 - - * * VMX-Preemption Timer Value
0 6000 1 3 - - * ffffffff9fffffde CR0 Guest/Host Mask
0 6002 1 3 - - * ffffffffffff9fbf CR4 Guest/Host Mask
0 6004 1 3 - - * ffffffffffffffde CR0 Read Shadow
0 6006 1 3 - - * ffffffffffffffbf CR4 Read Shadow
0 6008 4 3 - - * * CR3-Target Values
0 6400 1 3 - - * - Exit qualification
0 6402 1 3 - - * - I/O RCX
0 6404 1 3 - - * - I/O RSI
0 6406 1 3 - - * - I/O RDI
0 6408 1 3 - - * - I/O RIP
0 640a 1 3 - - * - Guest-Linear Address
0 6800 1 3 - - * * Guest CR0
0 6802 1 3 - - * * Guest CR3
0 6804 1 3 - - * * Guest CR4
0 6806 1 3 - - * * Guest ES base
0 6808 1 3 - - * * Guest CS base
0 680a 1 3 - - * * Guest SS base
0 680c 1 3 - - * * Guest DS base
0 680e 1 3 - - * * Guest FS base
0 6810 1 3 - - * * Guest GS base
0 6812 1 3 - - * * Guest LDTR base
0 6814 1 3 - - * * Guest TR base
0 6816 1 3 - - * * Guest GDTR base
0 6818 1 3 - - * * Guest IDTR base
0 681a 1 3 - - * * Guest DR7
0 681c 1 3 - - * * Guest RSP
0 681e 1 3 - - * * Guest RIP
0 6820 1 3 - - * * Guest RFLAGS
0 6822 1 3 - - * * Pending Debug Exceptions
0 6824 1 3 - - * * IA32_SYSENTER_ESP
0 6826 1 3 - - * * IA32_SYSENTER_EIP
0 6828 1 3 - - * * GUEST_IA32_S_CET
0 682a 1 3 - - * * GUEST_SSP
0 682c 1 3 - - * * GUEST_IA32_INTERRUPT_SSP_TABLE_ADDR
0 6c08 1 3 - - - - Host GS Base
0 6c14 1 3 - - - - Host RSP
0 6c16 1 3 - - - - Host RIP
0 6c1a 1 3 - - - - HOST_SSP
`;
