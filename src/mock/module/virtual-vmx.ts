import type { ModuleBoot } from './boot.js';
import { hasFeature } from './guest-features.js';
import type { Td } from './td.js';

// IA32_VMX_* as a TD finds them: what its L2 VMs could have, whether it has some or not. Calculated at TDH.MNG.INIT
// (virt_msr_helpers.h) from constants (vmcs_defs.h), the platform and the TD's configuration.

const MSR = {
  BASIC: 0x480,
  MISC: 0x485,
  CR0_FIXED0: 0x486,
  CR0_FIXED1: 0x487,
  CR4_FIXED0: 0x488,
  CR4_FIXED1: 0x489,
  PROCBASED_CTLS2: 0x48b,
  EPT_VPID_CAP: 0x48c,
  TRUE_PINBASED_CTLS: 0x48d,
  TRUE_PROCBASED_CTLS: 0x48e,
  TRUE_EXIT_CTLS: 0x48f,
  TRUE_ENTRY_CTLS: 0x490,
  PROCBASED_CTLS3: 0x492,
} as const;

const bit = (position: number): bigint => 1n << BigInt(position);

/** `init` of an L2 VMCS, what the guest may change, and bits that are as the processor wants them. */
interface Controls {
  readonly init: bigint;
  readonly variable: bigint;
  readonly unknown: bigint;
}

const PINBASED: Controls = { init: 0x29n, variable: 0n, unknown: 0xffff_ff16n };
const PROCBASED: Controls = { init: 0x9122_0088n, variable: 0x48d9_9a04n, unknown: 0x0404_6173n };
const PROCBASED2: Controls = { init: 0x1338_b3fan, variable: 0x0c51_3e0cn, unknown: 0n };
const EXIT: Controls = { init: 0x1f3c_8204n, variable: 0n, unknown: 0x0003_6dfbn };
const ENTRY: Controls = { init: 0x003e_c004n, variable: 0x200n, unknown: 0xff80_11fbn };

const PROCBASED_BIT = { MWAIT_EXITING: bit(10), RDPMC_EXITING: bit(11), MONITOR_EXITING: bit(29) } as const;
const PROCBASED2_BIT = { USER_WAIT_PAUSE: bit(26), PCONFIG: bit(27), ENCLV_EXITING: bit(28) } as const;
const EXIT_PERF_GLOBAL_CTRL = bit(12) | bit(30);
const ENTRY_BIT = { PERF_GLOBAL_CTRL: bit(13), PKRS: bit(22) } as const;
const PROCBASED3_VARIABLE = 0xen;

/** Bits 54 to 56: exit information of INS and OUTS, TRUE MSRs, exceptions without error codes. */
const BASIC = 7n << 54n;
const MISC = 0x6004_40e0n;
const CR0 = { init: 0x21n, variable: 0x8005_001fn } as const;
const CR4_INIT = 0x2040n;
const CR4 = { KL: bit(19), PKE: bit(22), CET: bit(23), PKS: bit(24), UINTR: bit(25), LASS: bit(27) } as const;
/** Execute-only, pages of 2 MiB and 1 GiB, advanced exit information. */
const EPT_VPID_CAP = bit(0) | bit(16) | bit(17) | bit(22);
const SHADOW_STACKS = bit(23);
const HLAT_PREFIX_SIZE = 0x3fn << 48n;

const XFAM = { PKRU: bit(9), CET: bit(11) | bit(12), CET_S: bit(12), ULI: bit(14) } as const;
const ATTRIBUTES = { DEBUG: 1n, LASS: bit(27) } as const;

/** Constants that changed with 1.5.05. */
const SINCE_1_5_05 = { procbased3: 0n, cr4: 0x1bff_1fbfn } as const;
const BEFORE = { procbased3: 0x80n, cr4: 0x03ff_1fbfn } as const;

const chosen = (value: bigint, mask: bigint, on: boolean): bigint => (on ? value | mask : value & ~mask);

/** Allowed 0-settings in the lower half, allowed 1-settings in the upper one. */
const allowed = (init: bigint, variable: bigint): bigint => (init & ~variable) | ((init | variable) << 32n);

/** A capability MSR; those that the module does not virtualise read 0. `topology`: the module is 1.5.05 or later. */
export function virtualVmxMsr({ platform }: ModuleBoot, td: Td, index: number, topology: boolean): bigint {
  const { attributes, xfam } = td.configuration!;
  const native = (msr: number): bigint => BigInt(platform.msr[`0x${msr.toString(16)}`] ?? 0);
  const initial = ({ init, unknown }: Controls): bigint => init | (native(index) & unknown);
  const debug = (attributes & ATTRIBUTES.DEBUG) !== 0n;
  const perfmon = hasFeature(td, 'perfmon');
  const constants = topology ? SINCE_1_5_05 : BEFORE;
  switch (index) {
    case MSR.BASIC:
      return BASIC;
    case MSR.MISC:
      return MISC;
    case MSR.CR0_FIXED0:
      return CR0.init & ~CR0.variable;
    case MSR.CR0_FIXED1:
      return CR0.init | CR0.variable;
    case MSR.CR4_FIXED0:
      return CR4_INIT & ~cr4Variable();
    case MSR.CR4_FIXED1:
      return CR4_INIT | cr4Variable();
    case MSR.EPT_VPID_CAP:
      return EPT_VPID_CAP | (xfam & XFAM.CET_S ? SHADOW_STACKS : 0n) | (native(index) & HLAT_PREFIX_SIZE);
    case MSR.TRUE_PINBASED_CTLS:
      return allowed(initial(PINBASED), PINBASED.variable);
    case MSR.TRUE_PROCBASED_CTLS:
      return procbased();
    case MSR.PROCBASED_CTLS2:
      return procbased2();
    case MSR.PROCBASED_CTLS3:
      return constants.procbased3 | PROCBASED3_VARIABLE;
    case MSR.TRUE_EXIT_CTLS:
      return allowed(chosen(initial(EXIT), EXIT_PERF_GLOBAL_CTRL, perfmon || debug), EXIT.variable);
    case MSR.TRUE_ENTRY_CTLS: {
      const init = chosen(initial(ENTRY), ENTRY_BIT.PERF_GLOBAL_CTRL, perfmon || debug);
      return allowed(chosen(init, ENTRY_BIT.PKRS, hasFeature(td, 'pks') || debug), ENTRY.variable);
    }
    default:
      return 0n;
  }

  function procbased(): bigint {
    const monitor = PROCBASED_BIT.MWAIT_EXITING | PROCBASED_BIT.MONITOR_EXITING;
    const init = chosen(initial(PROCBASED), monitor, !hasFeature(td, 'monitor'));
    return allowed(
      chosen(init, PROCBASED_BIT.RDPMC_EXITING, !perfmon),
      chosen(PROCBASED.variable, PROCBASED_BIT.RDPMC_EXITING, perfmon),
    );
  }

  function procbased2(): bigint {
    const forTd = (value: bigint): bigint =>
      chosen(
        chosen(value, PROCBASED2_BIT.USER_WAIT_PAUSE, hasFeature(td, 'umwait')),
        PROCBASED2_BIT.PCONFIG,
        hasFeature(td, 'pconfig'),
      );
    const enclv = (native(index) >> 32n) & PROCBASED2_BIT.ENCLV_EXITING;
    const init = chosen(initial(PROCBASED2), PROCBASED2_BIT.ENCLV_EXITING, enclv !== 0n);
    return allowed(forTd(init), forTd(PROCBASED2.variable));
  }

  /** Bits of CR4 that an L2 VM may change (helpers.h calc_base_l2_cr4_write_mask). */
  function cr4Variable(): bigint {
    const without: [boolean, bigint][] = [
      [true, CR4.KL],
      [!(xfam & XFAM.PKRU), CR4.PKE],
      [(xfam & XFAM.CET) !== XFAM.CET, CR4.CET],
      [!(xfam & XFAM.ULI), CR4.UINTR],
      [!hasFeature(td, 'pks'), CR4.PKS],
      [!(attributes & ATTRIBUTES.LASS), CR4.LASS],
    ];
    const possible = constants.cr4 & ~native(MSR.CR4_FIXED0) & native(MSR.CR4_FIXED1);
    return without.reduce((mask, [off, bits]) => (off ? mask & ~bits : mask), possible);
  }
}
