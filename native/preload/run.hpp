// The waiting of KVM_RUN, which a signal ends.
#pragma once

#include "channel.hpp"
#include "descriptors.hpp"

namespace kvmtdx::preload {

/** Sends the call in the channel's buffer and waits for its result, telling the model of a signal once. false: the
 * connection is lost. */
bool SendAndWait(Channel& channel, const SignalMask& mask);

}  // namespace kvmtdx::preload
