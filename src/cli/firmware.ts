// What `tdxctl launch` tells of a firmware on its way.
import type { FirmwareStop, Milestone, MilestoneReached, Milestones, TdOutcome } from '../launch/index.js';
import { counted, hex, type Output } from './output.js';

/** Follows a firmware; what it reaches is told at once where `output` is given. */
export async function watchFirmware(output?: Output): Promise<Milestones> {
  const { Milestones } = await import('../launch/platform/index.js');
  return new Milestones(
    undefined,
    output && (({ what, reached }) => output.note(`firmware  ${what} (${when(reached)}; by ${reached.by})`)),
  );
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;

const when = ({ atMs, exits, tdcalls }: MilestoneReached): string =>
  [seconds(atMs), counted(exits, 'exit'), ...(tdcalls > 0 ? [counted(tdcalls, 'TDCALL')] : [])].join(', ');

interface Summary {
  milestones: Milestones;
  stop: FirmwareStop;
}

export async function firmwareSummary(milestones: Milestones, outcome: TdOutcome): Promise<Summary> {
  const { explainFirmwareStop } = await import('../launch/platform/index.js');
  return { milestones, stop: explainFirmwareStop(milestones, outcome) };
}

/** The milestones in order, RTMRs, and what stopped the next milestone, for people. */
export function printFirmware(output: Output, { milestones, stop }: Summary): void {
  const { list, last, rtmrExtends } = milestones;
  output.note('firmware milestones, in order:');
  const lastAt = list.findLastIndex(({ reached }) => reached);
  for (const [i, { what, reached }] of list.entries()) {
    const state = reached ? when(reached) : i < lastAt ? 'passed over' : 'not reached';
    output.note(`  ${state.padEnd(36)} ${what}`);
  }
  output.note(`last      ${last?.what ?? 'none'}`);
  output.note(`RTMRs     ${rtmrExtends.length === 0 ? 'none was extended' : counted(rtmrExtends.length, 'extend')}`);
  for (const { index, gpa } of rtmrExtends) output.note(`          RTMR ${index} by the 48 bytes at ${hex(gpa)}`);
  const { next, why, advice } = stop;
  output.note(next ? `stopped   before "${next.what}". ${why}` : `stopped   ${why}`);
  if (advice) output.note(`          ${advice}.`);
}

const rounded = ({ reached, ...milestone }: Milestone) => ({
  ...milestone,
  ...(reached && { reached: { ...reached, atMs: Math.round(reached.atMs * 1000) / 1000 } }),
});

/** The same for scripts. */
export const firmwareJson = ({ milestones, stop: { next, why, advice } }: Summary): Record<string, unknown> => ({
  milestones: milestones.list.map(rounded),
  last: milestones.last?.name ?? null,
  next: next?.name ?? null,
  stoppedBy: { message: why, ...(advice !== undefined && { advice }) },
  rtmrExtends: milestones.rtmrExtends,
});
