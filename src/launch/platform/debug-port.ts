// The debug console that QEMU's isa-debugcon is, at OVMF's port.
import { byteDevice, type PlatformPorts } from './device.js';

const PORT = 0x402;
/** What a read gives: by it firmware sees that somebody listens. */
const PRESENT = 0xe9;

export function debugPort(onText: (text: string) => void): PlatformPorts {
  return byteDevice(PORT, PORT, {
    read: () => PRESENT,
    write: (_, value) => onText(String.fromCharCode(value)),
  });
}
