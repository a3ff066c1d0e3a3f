import type { KvmSystem } from '../kvm/system.js';
import type { KvmVm } from '../kvm/vm.js';
import type { Fault } from './faults.js';
import { chooseEngine, type EngineKind } from './guest/choose.js';
import { MockHost, type MockHostOptions } from './kernel/host.js';
import { MockSystem } from './kernel/seam/system.js';
import { MockVm } from './kernel/seam/vm.js';
import { DEFAULT_PROFILE, loadProfile, type Profile, type ProfileDocument } from './profiles.js';

export { type Fault, FaultError, type Faults } from './faults.js';
export type { EngineKind } from './guest/choose.js';
export type { GuestEngine } from './guest/engine.js';
export { MockHost, type MockHostOptions, type MockHostStats } from './kernel/host.js';
export type { SeamcallTrace } from './kernel/seamcalls.js';
export type { GuestTrace } from './module/guest-trace.js';
export type { SeamcallArgs, SeamcallResult } from './module/seamcall.js';
export {
  type CpuidEntryDocument,
  DEFAULT_PROFILE,
  listProfiles,
  loadProfile,
  type Profile,
  type ProfileDocument,
  ProfileError,
  type ProfileKernel,
} from './profiles.js';

export interface MockOptions {
  /** Name of a bundled profile, path of a file, a document, or a loaded profile; default {@link DEFAULT_PROFILE}. */
  profile?: string | ProfileDocument | Profile;
  /** Failures on demand, on top of the profile's. */
  faults?: readonly Fault[];
  /** A host that other systems run on too: they share its KeyIDs and its faults. By default each system has its own. */
  host?: MockHost;
  /** Why it is the model that answers, for the description. */
  why?: string;
  /**
   * What executes guests: a plain VM of the real KVM (`kvm`), software (`interpreter`), or the first of them that this
   * machine has (`auto`, default). Of no effect where `host` is given.
   */
  engine?: EngineKind;
  /** Opens the real KVM, from which the engine `kvm` borrows plain VMs; without it that engine cannot be had. */
  plainKvm?: () => KvmSystem;
  /** Called after each try of a SEAMCALL. Of no effect where `host` is given. */
  onSeamcall?: MockHostOptions['onSeamcall'];
  /** Called after each TDCALL, injected exception and TD exit. Of no effect where `host` is given. */
  onGuest?: MockHostOptions['onGuest'];
}

/**
 * Opens the model of a TDX host.
 * @throws ProfileError for a profile that cannot be used, FaultError for a fault that cannot be.
 */
export function openMock(options: MockOptions = {}): KvmSystem {
  const {
    profile = DEFAULT_PROFILE,
    faults = [],
    host,
    why,
    engine: wanted = 'auto',
    plainKvm,
    onSeamcall,
    onGuest,
  } = options;
  if (!host) {
    const loaded = typeof profile === 'string' || 'schema' in profile ? loadProfile(profile) : profile;
    const engine = () => chooseEngine({ wanted, plainKvm });
    const watchers = { ...(onSeamcall && { onSeamcall }), ...(onGuest && { onGuest }) };
    return new MockSystem(new MockHost(loaded, { faults, engine, ...watchers }), why);
  }
  for (const fault of faults) host.faults.add(fault);
  return new MockSystem(host, why);
}

/** The host behind a system of the model, for its statistics; undefined for a real one. */
export const mockHostOf = (system: KvmSystem): MockHost | undefined =>
  system instanceof MockSystem ? system.host : undefined;

/** MRTD of a finalised TD of the model, 48 bytes: what on a host only the guest can ask for. */
export const mockMrtd = (vm: KvmVm): Uint8Array | undefined => (vm instanceof MockVm ? vm.kernel.td?.mrtd : undefined);
