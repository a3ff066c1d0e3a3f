/** What a guest asked of the TDX module, and what it got, for whoever watches the model. */
export type GuestTrace = {
  /** VCPU_INDEX. */
  vcpu: number;
  /** Address of the guest's instruction. */
  rip: bigint;
} & (
  | {
      kind: 'tdcall';
      leaf: number;
      /** General registers before and after, in the order of encodings. `after` is missing where the TD was left. */
      before: BigUint64Array;
      after?: BigUint64Array;
      /** The rulebook entry that refused it. */
      rule?: string;
    }
  /** An exception that the module injects; for #VE the VMX exit reason that the guest will find. */
  | { kind: 'exception'; vector: number; errorCode?: number; exitReason?: number; rule?: string }
  /** An interrupt, or NMI, that the guest takes. */
  | { kind: 'interrupt'; vector: number }
  /** A TD exit: the VMX exit reason. */
  | { kind: 'exit'; exitReason: number }
);
