import { rules } from './rule.js';

const GP = 13;

/** What the TDX module checks of TDCALLs. Intel's module source, 1.5.01 to 1.5.25. */
export const TDCALL_RULES = rules({
  'module.tdcall.cpl': {
    source: 'Intel TDX CPU Architectural Extensions: TDCALL, #GP(0) if CPL > 0',
    exception: GP,
    what: 'TDCALL is executed at privilege level 0',
    fix: 'Make the call from the kernel',
  },
  'module.tdcall.long-mode': {
    source: 'tdx_td_dispatcher.c td_call: is_td_guest_in_64b_mode',
    exception: GP,
    what: 'TDCALL is executed in 64-bit mode: IA32_EFER.LMA and CS.L are 1',
    fix: 'Switch to 64-bit mode before the first TDCALL',
  },
  'module.tdcall.leaf': {
    source:
      'tdx_td_dispatcher.c td_call: reserved0, reserved1 and the default case; here also the leaves for service TDs and L2 VMs',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RAX',
    what: 'RAX[15:0] is a leaf that this module, and its model, serves, and RAX[63:24] is 0',
    fix: 'Clear the upper bits of RAX, and call a leaf that exists',
  },
  'module.tdcall.version': {
    source: 'tdx_td_dispatcher.c td_call: leaf_opcode.version, and the version checks of the leaves',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RAX',
    what: 'RAX[23:16] is 0, or a version that the leaf has: 1 for TDG.VM.RD, 1 and 2 for TDG.VP.VEINFO.GET of later modules',
    fix: 'Use version 0, or ask TDX_FEATURES0 first',
  },
  'module.vmcall.mask': {
    source: 'tdg_vp_vmcall.c: gpr_check_mask, control.reserved',
    status: 'TDX_OPERAND_INVALID',
    operand: 'RCX',
    what: 'The register mask of TDG.VP.VMCALL leaves out RAX, RCX, RSP (bits 0, 1, 4), RBP (bit 5) with CONFIG_FLAGS.NO_RBP_MOD, and bits 63:32',
    fix: 'Pass values in the other registers; KVM sets NO_RBP_MOD for every TD',
  },
});
