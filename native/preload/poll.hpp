// poll() of KVM descriptors: as those have no poll of their own, they are always ready to read and write.
#pragma once

#include <poll.h>

#include <csignal>
#include <ctime>

namespace kvmtdx::preload {

/** ppoll() where the list may have a KVM descriptor in it; libc's errno. */
int PollWithKvm(pollfd* list, nfds_t count, const timespec* timeout, const sigset_t* mask);

/** The list has a descriptor that is known to be KVM's. */
bool MayHaveKvm(const pollfd* list, nfds_t count);

}  // namespace kvmtdx::preload
