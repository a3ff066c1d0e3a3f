/* What the clients share: saying what held, and the steps of a launch, each one request. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm_tdx.h"

#define PAGE 4096ull

/* ---- results: a line for each check (TAP), exit status 1 where one failed ---- */

bool check(bool holds, const char* format, ...) __attribute__((format(printf, 2, 3)));
/** The call succeeded. */
bool succeeds(long result, const char* what);
/** It failed, with this errno. */
bool fails(long result, int error, const char* what);
/** Prints the plan. Returns what main() should. */
int finish(void);
/** Ends the client: nothing after this could work. */
void must(long result, const char* what);

/* ---- requests ---- */

/** KVM_MEMORY_ENCRYPT_OP. hw_error may be null. */
int tdx(int fd, uint32_t id, uint32_t flags, const void* data, uint64_t* hw_error);

/** KVM_TDX_CAPABILITIES with a buffer that grows for as long as KVM says E2BIG. */
struct kvm_tdx_capabilities* capabilities_of(int vm);

/** KVM_GET_SUPPORTED_CPUID, likewise. */
struct kvm_cpuid2* supported_cpuid(int kvm);

/** Parameters that this host takes: its CPUID, within what TDX lets be configured; GPAW 48. */
struct kvm_tdx_init_vm* default_parameters(int kvm, int vm);

int enable_cap(int fd, uint32_t cap, uint64_t value);
int set_attributes(int vm, uint64_t address, uint64_t size, uint64_t attributes);
int set_region(int vm, uint32_t slot, uint64_t address, uint64_t size, void* shared, int guest_memfd);
int init_mem_region(int vcpu, const void* source, uint64_t gpa, uint64_t pages, uint32_t flags);

/* ---- a TD ---- */

struct td {
  int kvm, vm, memfd, vcpu;
  struct kvm_run* run;
  /** Shared memory of the slot. */
  void* memory;
};

/** How far a TD is taken. */
enum stage { VM_CREATED, TD_INITIALIZED, VCPU_CREATED, VCPU_INITIALIZED, MEMORY_ADDED, FINALIZED };

/** What guest.S does, by the initial RCX of its vCPU. */
enum guest { GUEST_EXITS, GUEST_PORTS, GUEST_FATAL, GUEST_SPINS, GUEST_HALTS };

/** Takes a TD with one vCPU and the guest of guest.S there, step by step; ends the client where one fails. */
struct td make_td(enum stage stage, enum guest guest);
void free_td(struct td* td);

/** One page of ports and one of state before it are all a guest needs: guest.S, which ends at 4 GiB. */
extern const uint8_t guest_image[], guest_image_end[];
uint64_t guest_base(void);
uint64_t guest_size(void);

/** The ports of guest.S. */
#define PORT_TEST 0x50
#define PORT_EXIT 0xf4
