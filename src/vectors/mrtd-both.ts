import { runMrtdOffline } from './mrtd.js';
import { runMrtdOnModule } from './mrtd-module.js';
import type { CaseResult, VectorEnv } from './types.js';

/** A measurement vector, through the offline computation and through the model's SEAMCALLs: both must give it. */
export function runMrtd(testCase: unknown, env: VectorEnv): CaseResult {
  const offline = runMrtdOffline(testCase);
  if (!('ok' in offline && offline.ok)) return offline;
  return runMrtdOnModule(testCase, env);
}
