// Enough of a q35 machine for firmware that was made for one: what OVMF looks at on its way to a boot manager.
import { type RamRange, ramLayout } from '../../image/index.js';
import { addChipset } from './chipset.js';
import { cmos } from './cmos.js';
import { debugPort } from './debug-port.js';
import type { PlatformMmio, PlatformPorts } from './device.js';
import { e820, fwCfg } from './fw-cfg.js';
import { legacyDevices } from './legacy.js';
import { configPorts, ecam, PciBus } from './pci.js';
import { powerManagement, resetControl } from './power.js';

// Between RAM and the firmware's own place, where a q35 machine has its devices' memory.
const PCI_HOLE = { first: 0xb000_0000n, last: 0xfebf_ffffn };

export interface Q35Options {
  /** RAM in bytes, as TrustDomain places it. */
  memory: bigint | number;
  /** Default 1. */
  vcpus?: number;
  /** Text written to the debug port, 0x402. */
  onDebugText?(text: string): void;
  /** A byte written to port 0x80. */
  onPostCode?(code: number): void;
  /** Selected fw_cfg items, by file name or key. */
  onFwCfg?(item: string): void;
  /** Further fw_cfg files, by name; `etc/e820` is there. */
  files?: Readonly<Record<string, Uint8Array>>;
  /** The date that the guest's clock tells, which then runs on. Default: the host's. */
  date?: Date;
  /** Milliseconds that only grow; default performance.now(). */
  clock?(): number;
}

/** Devices for `td.run`. There is no serial port: the console of the run is one. A reset or power off ends the run. */
export interface Platform {
  readonly ports: readonly PlatformPorts[];
  readonly mmio: readonly PlatformMmio[];
  readonly ram: readonly RamRange[];
}

/** @throws RangeError if `memory` is no size of RAM, or a file's name no name. */
export function q35Platform(options: Q35Options): Platform {
  const { memory, vcpus = 1, files = {}, date = new Date(), clock = () => performance.now() } = options;
  const ram = ramLayout(memory);
  const started = clock();
  const now = () => new Date(date.getTime() + clock() - started);

  const bus = new PciBus();
  const { ecamWindow, pmBase } = addChipset(bus);
  const ports = [
    ...legacyDevices({ clock, ...(options.onPostCode && { postCode: options.onPostCode }) }),
    cmos({ ram, vcpus, now }),
    debugPort(options.onDebugText ?? (() => {})),
    fwCfg({ vcpus, files: { 'etc/e820': e820(ram), ...files }, ...(options.onFwCfg && { onSelect: options.onFwCfg }) }),
    powerManagement({ pmBase, clock }),
    configPorts(bus, resetControl()),
  ];
  return { ports, mmio: [ecam(bus, ecamWindow, PCI_HOLE.first, PCI_HOLE.last)], ram };
}
