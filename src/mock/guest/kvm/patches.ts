import { PAGE_SIZE } from '../../../kvm/constants.js';
import type { TrappedInstruction } from '../engine.js';
import { mayReveal, replacementOf } from './deprivileged/revealing.js';

/**
 * Instructions that plain KVM executes, or refuses to the guest, instead of telling us. In code they are replaced by a write
 * to a port of their own, of the same length: OUT imm8, AL, for TDCALL with an operand-size prefix, and NOPs.
 */
export type Patched = TrappedInstruction | 'tdcall';

interface Form {
  name: Patched;
  original: readonly number[];
  patched: readonly number[];
  port: number;
}

const OUT_IMM8_AL = 0xe6;
const OUT_IMM8_EAX = 0xe7;
const NOP = 0x90;

const form = (name: Patched, port: number, ...original: number[]): Form => ({
  name,
  port,
  original,
  patched: original[0] === 0x66 ? [0x66, OUT_IMM8_EAX, port, NOP] : [OUT_IMM8_AL, port, NOP].slice(0, original.length),
});

/** Ports between the APM's and the second DMA controller's, which no PC has devices at. */
const FORMS: readonly Form[] = [
  form('tdcall', 0xb4, 0x66, 0x0f, 0x01, 0xcc),
  form('cpuid', 0xb5, 0x0f, 0xa2),
  form('wbinvd', 0xb6, 0x0f, 0x09),
  form('invd', 0xb7, 0x0f, 0x08),
  form('rdpmc', 0xb8, 0x0f, 0x33),
  form('xsetbv', 0xb9, 0x0f, 0x01, 0xd1),
  form('monitor', 0xba, 0x0f, 0x01, 0xc8),
  form('mwait', 0xbb, 0x0f, 0x01, 0xc9),
  form('vmcall', 0xbc, 0x0f, 0x01, 0xc1),
  form('rdmsr', 0xbd, 0x0f, 0x32),
  form('wrmsr', 0xbe, 0x0f, 0x30),
];
const byName = new Map(FORMS.map((each) => [each.name, each]));
const byForm = new Set<object>(FORMS);
const byPort = new Map(FORMS.map((each) => [each.port, each]));

const startsWith = (bytes: Uint8Array, prefix: readonly number[]): boolean =>
  prefix.every((byte, i) => bytes[i] === byte);

/** What a write to `port` stands for, and where it begins in `bytes`, those before the byte `end`. */
export function patchedAt(port: number, bytes: Uint8Array): { name: Patched; length: number } | undefined {
  const found = byPort.get(port);
  return found && startsWith(bytes, found.patched) ? { name: found.name, length: found.original.length } : undefined;
}

/** The replacement by a port write that `bytes` begin with; undefined where they begin otherwise. */
export function portWriteIn(bytes: Uint8Array): Pick<Form, 'original' | 'patched'> | undefined {
  return FORMS.find(({ patched }) => startsWith(bytes, patched));
}

/** The bytes of a patched port write before KVM's RIP, where KVM has gone past it: the write itself, without NOPs. */
export const writeLength = (port: number): number => (byPort.get(port)?.name === 'tdcall' ? 3 : 2);

export const isPatchPort = (port: number): boolean => byPort.has(port);

interface Patch {
  gpa: number;
  form: Pick<Form, 'original' | 'patched'>;
}

/** Where a TD's private memory differs from what it holds for everybody but the processor. */
export class Patches {
  readonly #byPage = new Map<number, Patch[]>();

  /**
   * @param wanted those that this host needs. @param revealing whether to find what would tell deprivileged code that it
   * is: see {@link replacementOf}.
   */
  constructor(
    readonly wanted: ReadonlySet<Patched>,
    readonly revealing: boolean = false,
  ) {}

  wants(name: string): boolean {
    return (this.wanted as ReadonlySet<string>).has(name) || (this.revealing && mayReveal(name));
  }

  /**
   * Replaces the instruction at `gpa` if it is one of these, in exactly this encoding and within its page.
   * @returns what to write there.
   */
  put(name: string, gpa: number, bytes: Uint8Array): Uint8Array | undefined {
    const found = this.#formOf(name, bytes);
    if (found === undefined) return undefined;
    if (!startsWith(bytes, found.original) || (gpa % PAGE_SIZE) + found.original.length > PAGE_SIZE) return undefined;
    this.adopt(gpa, found);
    return Uint8Array.from(found.patched);
  }

  /** The replacements of the page at `gpa`. */
  inPage(gpa: number): readonly Patch[] {
    return this.#byPage.get(Math.floor(gpa / PAGE_SIZE)) ?? [];
  }

  /** Such a replacement is at `gpa`, within its page: the guest has copied it there. */
  adopt(gpa: number, form: Patch['form']): void {
    const page = Math.floor(gpa / PAGE_SIZE);
    const list = this.#byPage.get(page) ?? [];
    const others = list.filter((patch) => patch.gpa !== gpa);
    this.#byPage.set(page, [...others, { gpa, form }]);
  }

  #formOf(name: string, bytes: Uint8Array): Patch['form'] | undefined {
    const known = byName.get(name as Patched);
    if (known !== undefined) {
      return this.wanted.has(known.name) && bytes.length === known.original.length ? known : undefined;
    }
    const patched = this.revealing ? replacementOf(bytes) : undefined;
    return patched && { original: [...bytes.subarray(0, patched.length)], patched };
  }

  /** Those that only deprivileged code may meet: a processor at CPL 0 has no such instructions. */
  *forDeprivileged(): Generator<Patch> {
    for (const list of this.#byPage.values()) for (const patch of list) if (!byForm.has(patch.form)) yield patch;
  }

  /** Whether what is at `gpa` is replaced for deprivileged code only. */
  isForDeprivileged(gpa: number): boolean {
    const list = this.#byPage.get(Math.floor(gpa / PAGE_SIZE));
    return list?.some((patch) => patch.gpa === gpa && !byForm.has(patch.form)) ?? false;
  }

  /** `bytes` of one page from `gpa` on, without the patches. Where the guest has overwritten one, it is none any more. */
  restore(gpa: number, bytes: Uint8Array): Uint8Array {
    const list = this.#byPage.get(Math.floor(gpa / PAGE_SIZE));
    for (const patch of list ?? []) {
      const { original, patched } = patch.form;
      const at = patch.gpa - gpa;
      const inside = patched.every((byte, i) => at + i < 0 || at + i >= bytes.length || bytes[at + i] === byte);
      if (!inside) continue;
      for (const [i, byte] of original.entries()) if (at + i >= 0 && at + i < bytes.length) bytes[at + i] = byte;
    }
    return bytes;
  }

  /** [start, end) has another content now. */
  forget(start: number, end: number): void {
    if (this.#byPage.size === 0) return;
    for (let page = Math.floor(start / PAGE_SIZE); page < Math.ceil(end / PAGE_SIZE); page++) this.#byPage.delete(page);
  }
}
