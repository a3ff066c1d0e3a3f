import { errnoNumber } from '../../kvm/errno.js';
import { RULES, type RuleId } from '../../rulebook/index.js';

/** A request that the kernel storey refuses: an errno and the rule behind it. Never leaves the model as it is. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  /** Positive. */
  readonly errno: number;

  constructor(
    readonly rule: RuleId,
    errno: string | undefined = RULES[rule].errno,
    /** The rule of the TDX module that made KVM refuse, where one did. */
    readonly moduleRule?: string,
  ) {
    super(RULES[rule].what);
    if (errno === undefined) throw new Error(`rule ${rule} names no errno`);
    this.errno = errnoNumber(errno);
  }
}

/** Refuses by `rule` unless `holds`. The errno is the rule's. */
export function demand(holds: boolean, rule: RuleId): asserts holds {
  if (!holds) throw new Refusal(rule);
}
