/* The three cases that KVM's own selftests have for TDX: a TD's life, its port I/O, its fatal error. */
#include "client.h"

static void* io_data(struct kvm_run* run) { return (uint8_t*)run + run->io.data_offset; }

static bool stops_at_port(struct td* td, uint16_t port, uint8_t direction, const char* what) {
  if (!succeeds(ioctl(td->vcpu, KVM_RUN, 0), what)) return false;
  const struct kvm_run* run = td->run;
  if (!check(run->exit_reason == KVM_EXIT_IO, "exit_reason is KVM_EXIT_IO (it is %u)", run->exit_reason)) return false;
  return check(run->io.port == port && run->io.direction == direction && run->io.size == 1 && run->io.count == 1,
               "one byte %s port 0x%x", direction == KVM_EXIT_IO_IN ? "from" : "to", port);
}

static void life_cycle(void) {
  struct td td = make_td(FINALIZED, GUEST_EXITS);
  if (stops_at_port(&td, PORT_EXIT, KVM_EXIT_IO_OUT, "the first KVM_RUN of a TD")) {
    check(*(uint8_t*)io_data(td.run) == 0, "the guest says 0");
  }
  free_td(&td);
}

static void port_io(void) {
  struct td td = make_td(FINALIZED, GUEST_PORTS);
  if (stops_at_port(&td, PORT_TEST, KVM_EXIT_IO_OUT, "KVM_RUN up to the guest's write")) {
    const uint8_t written = *(uint8_t*)io_data(td.run);
    check(written == 0xab, "the guest wrote 0xab (it is 0x%x)", written);
    if (stops_at_port(&td, PORT_TEST, KVM_EXIT_IO_IN, "KVM_RUN up to its read")) {
      *(uint8_t*)io_data(td.run) = (uint8_t)(written + 1);
      if (stops_at_port(&td, PORT_EXIT, KVM_EXIT_IO_OUT, "KVM_RUN up to its end")) {
        check(*(uint8_t*)io_data(td.run) == 0xac, "the guest read what was answered, 0xac");
      }
    }
  }
  free_td(&td);
}

static void fatal_error(void) {
  struct td td = make_td(FINALIZED, GUEST_FATAL);
  if (succeeds(ioctl(td.vcpu, KVM_RUN, 0), "KVM_RUN of a TD that reports a fatal error")) {
    const struct kvm_run* run = td.run;
    check(run->exit_reason == KVM_EXIT_SYSTEM_EVENT, "exit_reason is KVM_EXIT_SYSTEM_EVENT (it is %u)",
          run->exit_reason);
    check(run->system_event.type == KVM_SYSTEM_EVENT_TDX_FATAL, "its type is KVM_SYSTEM_EVENT_TDX_FATAL");
    check(run->system_event.ndata == 16, "it carries 16 registers");
    check(run->system_event.data[12] == 0x0baaaaad, "R12 is the error code");
  }
  free_td(&td);
}

int main(void) {
  life_cycle();
  port_io();
  fatal_error();
  return finish();
}
