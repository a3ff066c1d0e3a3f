export type { PlatformMmio, PlatformPorts } from './device.js';
export { type Platform, type Q35Options, q35Platform } from './q35.js';
