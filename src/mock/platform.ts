/**
 * A processor and its firmware as the TDX module finds them: what CPUID and RDMSR give natively. The format is that of
 * profiles/platforms/*.json and of `npm run vectors -- --platforms FILE`.
 */
export interface Platform {
  name: string;
  /** Rows; `subleaf` null means that the leaf has none. Rows that are missing read as zeros. */
  cpuid: readonly PlatformCpuidRow[];
  /** MSR index to value, hexadecimal strings; missing ones read as 0. */
  msr: Readonly<Record<string, string>>;
  sys: PlatformSys;
  /** What Intel's module answers when it is loaded here, by module version, where somebody computed it. */
  boot?: Readonly<
    Record<string, { ok: boolean; call?: string; status?: string; name?: string; rcx?: string; msr?: string }>
  >;
}

export interface PlatformCpuidRow {
  leaf: string | number;
  subleaf: string | number | null;
  eax: string | number;
  ebx: string | number;
  ecx: string | number;
  edx: string | number;
}

export interface PlatformSys {
  num_lps: number;
  num_pkgs: number;
  /** CPUID(1).EAX of each package. */
  socket_fms: readonly string[];
  /** Convertible memory: [base, size]. */
  cmr: readonly (readonly [string, string])[];
  tdmr_base: string;
  tdmr_size: string;
  pamt_base: string;
  /** KeyID given to TDH.SYS.CONFIG. */
  global_hkid: number;
  [more: string]: unknown;
}
