/**
 * One rule of the kernel or of the TDX module. The validator (src/td) and the model (src/mock) cite the same entry where
 * they enforce the same rule; `source` says where the rule can be read.
 */
export interface Rule {
  /** Stable, dotted: `kvm.init-vm.attributes-supported`, `module.mng-init.xfam-avx512`. */
  readonly id: string;
  /** File and function or line of the kernel (Linux 6.16.1) or of Intel's module source (1.5.01 to 1.5.25). */
  readonly source: string;
  /** What must hold, one sentence. */
  readonly what: string;
  /** What to change so that it holds, one sentence. */
  readonly fix: string;
  /** errno that KVM gives, by name. */
  readonly errno?: string;
  /** Name of the module's status, such as `TDX_OPERAND_INVALID`. */
  readonly status?: string;
  /** Name of the operand in the status, such as `XFAM`. */
  readonly operand?: string;
  /** Vector of the exception that the guest gets. */
  readonly exception?: number;
}

type Entry = Omit<Rule, 'id'>;

/** Makes rules of a table keyed by id; the ids stay literal types, so citing one that does not exist fails to compile. */
export const rules = <const Id extends string>(table: Record<Id, Entry>): Readonly<Record<Id, Rule>> =>
  Object.fromEntries(
    Object.entries<Entry>(table).map(([id, entry]) => [id, Object.freeze({ id, ...entry })]),
  ) as unknown as Record<Id, Rule>;
