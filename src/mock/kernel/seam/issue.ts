import { KvmError, KvmStateError } from '../../../kvm/errors.js';
import { RULES, type RuleId } from '../../../rulebook/index.js';
import { Refusal } from '../refusal.js';

const EINTR = 4;
/** As the native backend: KVM undid what it had begun, or had not begun, so the request is made again. */
const EINTR_RETRIES = 1000;

interface Outcome {
  hwError?: bigint;
  pagesDone?: number;
  syscall?: string;
}

/** The error that users see of a refused request: the module's rule where one is behind it, else the kernel's. */
export function kvmError(request: string, refusal: Refusal, { hwError, pagesDone, syscall }: Outcome = {}): KvmError {
  const rule = refusal.moduleRule ?? refusal.rule;
  return new KvmError({
    errno: refusal.errno,
    request,
    rule,
    hint: RULES[rule as RuleId]?.fix ?? RULES[refusal.rule].fix,
    ...(hwError !== undefined && { hwError }),
    ...(pagesDone !== undefined && { pagesDone }),
    ...(syscall !== undefined && { syscall }),
  });
}

/** Makes a request of the kernel storey. `outcome` is read after a refusal. @throws KvmError. */
export function issue<T>(request: string, body: () => T, outcome: () => Outcome = () => ({})): T {
  for (let tries = 0; ; tries++) {
    try {
      return body();
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      if (refusal.errno === EINTR && tries < EINTR_RETRIES) continue;
      throw kvmError(request, refusal, outcome());
    }
  }
}

/** Refuses the use of a closed object. */
export function demandOpen(what: string, closed: boolean): void {
  if (closed) throw new KvmStateError('ERR_KVM_CLOSED', `this ${what} is closed`);
}
