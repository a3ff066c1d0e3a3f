import { accessSync, constants } from 'node:fs';
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
