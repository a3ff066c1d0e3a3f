export type { PlatformMmio, PlatformPorts } from './device.js';
export { explainFirmwareStop, type FirmwareStop, isUefiFirmware } from './firmware-stop.js';
export {
  type Milestone,
  type MilestoneName,
  type MilestoneReached,
  Milestones,
  type RtmrExtend,
  type TracedTdcall,
} from './milestones.js';
export { type Platform, type Q35Options, q35Platform } from './q35.js';
