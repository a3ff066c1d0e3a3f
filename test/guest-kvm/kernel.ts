import { accessSync, constants } from 'node:fs';
import { isFaithful } from '../../src/mock/guest/kvm/deprivileged/index.js';
import { probe } from '../../src/mock/guest/kvm/probe.js';
import { nativeStatus, openNative } from '../../src/native/index.js';

/** Why these tests cannot run here; undefined where they can. */
export const unusable: string | undefined = (() => {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch (error) {
    return (error as Error).message;
  }
  return nativeStatus().reason;
})();

if (unusable !== undefined) console.log(`tests of the kvm engine are skipped: ${unusable}`);

export const open = () => openNative();

/** Whether KVM emulates privileged code here, and deprivileged code is a faithful way around that. */
export const canDeprivilege: boolean = unusable === undefined && (await deprivileges());

async function deprivileges(): Promise<boolean> {
  const system = open();
  try {
    const abilities = await probe(system);
    return abilities.emulates !== undefined && (await isFaithful(system, abilities));
  } finally {
    system.close();
  }
}
