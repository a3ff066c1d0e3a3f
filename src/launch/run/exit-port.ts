import type { PortDevice } from './devices.js';

/** A byte written here ends the guest and is its exit code. */
export const exitPort = (port: number): PortDevice => ({
  first: port,
  last: port,
  write: (_port, _size, value) => {
    const exitCode = value & 0xff;
    return { stop: `The guest ended with ${exitCode} through port 0x${port.toString(16)}`, exitCode };
  },
});
