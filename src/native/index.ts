/** The seam on the real kernel. No policy: what KVM is asked and what it answers, in the seam's types. */
import { u32 } from '../kvm/check.js';
import type { KvmSystem } from '../kvm/system.js';
import { loadAddon } from './loader.js';
import { NativeSystem } from './system.js';

const KVM_API_VERSION = 12;

export interface NativeOptions {
  /** The device; default `/dev/kvm`. */
  path?: string;
}

/**
 * Opens the kernel's KVM.
 * @throws KvmError of open(2) with a hint (no device, no permission); Error with code ERR_KVM_NO_ADDON where the addon
 * cannot be loaded, ERR_KVM_API_VERSION where the device is not KVM as we know it.
 */
export function openNative(options: NativeOptions = {}): KvmSystem {
  const { path = '/dev/kvm' } = options;
  const loaded = loadAddon();
  if ('reason' in loaded) throw Object.assign(new Error(loaded.reason), { code: 'ERR_KVM_NO_ADDON' });
  const handle = loaded.addon.openSystem(path);
  try {
    const version = handle.getApiVersion();
    if (version !== KVM_API_VERSION) {
      throw Object.assign(new Error(`${path} has KVM API version ${version}, expected ${KVM_API_VERSION}`), {
        code: 'ERR_KVM_API_VERSION',
      });
    }
    return new NativeSystem(loaded.addon, handle, path);
  } catch (error) {
    handle.close();
    throw error;
  }
}

export interface NativeStatus {
  /** Whether openNative() would succeed now. */
  available: boolean;
  /** The addon's file, where one was loaded. */
  path?: string;
  /** Why not, and what to do. */
  reason?: string;
}

/** Says whether the real kernel can be used, and if not, why. Never throws. */
export function nativeStatus(options: NativeOptions = {}): NativeStatus {
  const loaded = loadAddon();
  if ('reason' in loaded) return { available: false, reason: loaded.reason };
  try {
    openNative(options).close();
    return { available: true, path: loaded.path };
  } catch (error) {
    return { available: false, path: loaded.path, reason: (error as Error).message };
  }
}

/** What the CPUID instruction gives. All unsigned 32-bit numbers. */
export interface CpuidValues {
  eax: number;
  ebx: number;
  ecx: number;
  edx: number;
}

/**
 * The CPUID instruction as this process sees it, on whichever CPU it happens to run; no KVM is involved.
 * @returns undefined where there is no addon.
 */
export function readNativeCpuid(leaf: number, subleaf: number = 0): CpuidValues | undefined {
  u32('leaf', leaf);
  u32('subleaf', subleaf);
  const loaded = loadAddon();
  if ('reason' in loaded) return undefined;
  const [eax, ebx, ecx, edx] = loaded.addon.cpuid(leaf, subleaf);
  return { eax, ebx, ecx, edx };
}
