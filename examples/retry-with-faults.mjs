// Does your service do the right thing when a TDX host is short of something? Hosts fail rarely and never on demand; the
// model does. Here a policy of ours, "wait for a KeyID, give up on anything else", is tried against three hosts.
//   node examples/retry-with-faults.mjs
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { openKvm, TdLaunchError, TrustDomain } from 'kvm-tdx';

/** The policy: a host has few KeyIDs, and whoever holds one may give it back (ENOSPC of KVM_TDX_INIT_VM). */
async function launchWhenThereIsRoom(system, config, { tries, waitMs }) {
  for (let attempt = 1; ; attempt++) {
    try {
      // A launch that fails gives everything back, so that it may simply be made again.
      return { td: await TrustDomain.create(system, config), attempt };
    } catch (error) {
      const noKeyId = error instanceof TdLaunchError && error.cause.code === 'ENOSPC';
      if (!noKeyId || attempt === tries) throw error;
      await sleep(waitMs * attempt);
    }
  }
}

/** A modelled host on which one request fails: from its first call on, `times` times in a row. */
const hostWhere = (request, errno, times) => openKvm({ faults: [{ request, nth: 1, times, errno }] });
const policy = { tries: 5, waitMs: 1 };

// Two tries find no KeyID, the third does.
{
  const system = hostWhere('KVM_TDX_INIT_VM', 'ENOSPC', 2);
  const { td, attempt } = await launchWhenThereIsRoom(system, {}, policy);
  assert.equal(attempt, 3);
  console.log(`no KeyID twice: launched at attempt ${attempt}, MRTD ${td.mrtd.slice(0, 16)}...`);
  td.close();
  system.close();
}

// There never is one: the error of the last try is what the caller gets.
{
  const system = hostWhere('KVM_TDX_INIT_VM', 'ENOSPC', 1000);
  await assert.rejects(launchWhenThereIsRoom(system, {}, policy), (error) => {
    console.log(`no KeyID ever: gave up, ${error.message}`);
    return error.cause.code === 'ENOSPC';
  });
  system.close();
}

// Something else is wrong: trying again would hide it.
{
  const system = hostWhere('KVM_CREATE_VCPU', 'ENOMEM', 1);
  await assert.rejects(launchWhenThereIsRoom(system, {}, policy), (error) => {
    console.log(`no memory: not tried again, ${error.message}`);
    return error.step === 'Create vCPU 0';
  });
  system.close();
}
