import { createHash } from 'node:crypto';
import type { ModuleBoot } from './boot.js';
import type { ModuleState } from './module-state.js';
import type { Td } from './td.js';

// TDREPORT_STRUCT: REPORTMACSTRUCT (256 bytes), TEE_TCB_INFO (239) and 17 zeros, TDINFO_STRUCT (512). Source: tdx_api_defs.h
// td_report_t. What a processor and the real module would sign is replaced by text that says so.

const SIZE = 1024;
const TCB_INFO = { offset: 256, size: 239, SVN: 8, MRSEAM: 24, SVN_2: 128 } as const;
const TD_INFO = { offset: 512, size: 512 } as const;
const MAC_STRUCT = { SIZE: 256, TCB_HASH: 32, INFO_HASH: 80, DATA: 128, MAC: 224 } as const;
const TYPE_TDX = 0x81;

/** Bit i: a field lies at 8 * i. VALID, TEE_TCB_SVN, MRSEAM; TEE_TCB_SVN_2 for modules that have it. */
const VALID = 0x1ffn;
const VALID_SVN_2 = 0x3_0000n;

const MAC = 'kvm-tdx model: this is not a MAC';
const mrSeam = (version: string): string => `kvm-tdx model, not Intel's TDX module ${version}`;

const text = (value: string, size: number): Uint8Array => {
  const bytes = new Uint8Array(size);
  bytes.set(new TextEncoder().encode(value).subarray(0, size));
  return bytes;
};

const sha384 = (bytes: Uint8Array): Uint8Array => createHash('sha384').update(bytes).digest();

// Reports that TDG.MR.VERIFYREPORT still knows.
const MAX_REPORTS = 1024;
const macKey = (report: Uint8Array): string =>
  createHash('sha256').update(report.subarray(0, MAC_STRUCT.SIZE)).digest('base64');

/** Notes a report that the module made. */
export function rememberReport({ reports }: ModuleState, report: Uint8Array): void {
  const [oldest] = reports;
  if (oldest !== undefined && reports.size >= MAX_REPORTS) reports.delete(oldest);
  reports.add(macKey(report));
}

/** Whether a REPORTMACSTRUCT is one that the module made. */
export const isOurReport = ({ reports }: ModuleState, macStruct: Uint8Array): boolean => reports.has(macKey(macStruct));

/**
 * The report of a TD: its configuration and measurements, with right hashes. CPUSVN is 0, TEE_TCB_SVN has the version of the
 * module; MRSEAM and the MAC are readable text, so that nobody takes the report for one of a real TD.
 */
export function tdReport(module: ModuleBoot, td: Td, reportData: Uint8Array): Uint8Array {
  const report = new Uint8Array(SIZE);
  const tcbInfo = report.subarray(TCB_INFO.offset, TCB_INFO.offset + TCB_INFO.size);
  const info = report.subarray(TD_INFO.offset, TD_INFO.offset + TD_INFO.size);
  fillTcbInfo(tcbInfo, module);
  fillTdInfo(info, td);
  report[0] = TYPE_TDX;
  report.set(sha384(tcbInfo), MAC_STRUCT.TCB_HASH);
  report.set(sha384(info), MAC_STRUCT.INFO_HASH);
  report.set(reportData, MAC_STRUCT.DATA);
  report.set(text(MAC, 32), MAC_STRUCT.MAC);
  return report;
}

function fillTcbInfo(bytes: Uint8Array, { version, sysInfo }: ModuleBoot): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setBigUint64(0, VALID | VALID_SVN_2, true);
  for (const svn of [TCB_INFO.SVN, TCB_INFO.SVN_2]) bytes.set([sysInfo.updateVersion, 1], svn);
  bytes.set(text(mrSeam(version), 48), TCB_INFO.MRSEAM);
}

/** ATTRIBUTES, XFAM, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMR 0 to 3, SERVTD_HASH (0: no service TDs), zeros. */
function fillTdInfo(bytes: Uint8Array, td: Td): void {
  const { attributes, xfam, mrConfigId, mrOwner, mrOwnerConfig } = td.configuration!;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setBigUint64(0, attributes, true);
  view.setBigUint64(8, xfam, true);
  let at = 16;
  for (const part of [td.mrtd, mrConfigId, mrOwner, mrOwnerConfig, td.rtmr]) {
    bytes.set(part, at);
    at += part.length;
  }
}
