// The two functions of a q35 chipset that firmware looks for: its host bridge (82G33/G31/P35/P31 datasheet, 5.1) and the LPC
// bridge of its ICH9 (ICH9 datasheet, 13.1). Their other registers are there as memory where firmware sets them.
import { bdf, type EcamWindow, type PciBus, PciFunction } from './pci.js';

const INTEL = 0x8086;
const MCH = 0x29c0;
const ICH9_LPC = 0x2918;
// Subsystem of all devices that QEMU makes up: by it firmware sees that it runs on a virtual machine.
const [RED_HAT, QEMU] = [0x1af4, 0x1100];

const HOST_BRIDGE = bdf(0, 0, 0);
export const LPC = bdf(0, 31, 0);

const PCIEXBAR = 0x60;
const PCIEXBAR_BUSES: Partial<Record<number, number>> = { 0: 256, 1: 128, 2: 64 };

const PMBASE = 0x40;
const ACPI_CNTL = 0x44;
const ACPI_EN = 0x80;
const PM_BASE_MASK = 0xff80;

const identity = (device: number, classCode: number, headerType = 0): PciFunction =>
  new PciFunction()
    .define(0x00, 2, INTEL)
    .define(0x02, 2, device)
    .define(0x04, 2, 0x0007, 0x0107)
    .define(0x08, 4, classCode * 0x100 + 2)
    .define(0x0e, 1, headerType)
    .define(0x2c, 2, RED_HAT)
    .define(0x2e, 2, QEMU);

function hostBridge(): PciFunction {
  return identity(MCH, 0x06_00_00)
    .define(0x40, 8, 0, 0) // EPBAR, not decoded
    .define(PCIEXBAR, 4, 0xe000_0000, 0xf000_0007)
    .define(PCIEXBAR + 4, 4, 0, 0xf)
    .define(0x90, 4, 0, 0x3333_3330) // PAM0 to PAM3: which of RAM and ROM is below 1 MiB
    .define(0x94, 3, 0, 0x33_3333)
    .define(0x9d, 1, 0x02, 0x7f) // SMRAM
    .define(0x9e, 1, 0x38, 0x87); // ESMRAMC
}

function lpcBridge(): PciFunction {
  return identity(ICH9_LPC, 0x06_01_00, 0x80) // more than one function
    .define(PMBASE, 4, 1, PM_BASE_MASK) // bit 0: I/O space
    .define(ACPI_CNTL, 1, 0, 0x87)
    .define(0x60, 4, 0x8080_8080, 0x8f8f_8f8f) // PIRQA to PIRQD, 0x80: not routed
    .define(0x68, 4, 0x8080_8080, 0x8f8f_8f8f) // PIRQE to PIRQH
    .define(0xa0, 2, 0, 0x17) // GEN_PMCON_1
    .define(0xf0, 4, 0, 0xffff_c001); // RCBA, not decoded
}

/** Puts the chipset on the bus. */
export function addChipset(bus: PciBus): { ecamWindow: EcamWindow; pmBase(): number | undefined } {
  const mch = bus.add(HOST_BRIDGE, hostBridge());
  const lpc = bus.add(LPC, lpcBridge());
  return {
    ecamWindow() {
      const low = mch.read(PCIEXBAR, 4);
      const buses = PCIEXBAR_BUSES[(low >>> 1) & 3];
      if ((low & 1) === 0 || buses === undefined) return undefined;
      const base = (BigInt(mch.read(PCIEXBAR + 4, 4)) << 32n) | BigInt((low & 0xf000_0000) >>> 0);
      return { base, buses };
    },
    /** I/O port of the power management registers, once firmware has switched them on. */
    pmBase() {
      return (lpc.read(ACPI_CNTL, 1) & ACPI_EN) !== 0 ? lpc.read(PMBASE, 4) & PM_BASE_MASK : undefined;
    },
  };
}
