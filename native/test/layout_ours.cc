// Prints sizes, offsets and numbers of core/abi*.hpp, one "name value" a line.
#include <cstddef>
#include <cstdio>

#include "../core/abi.hpp"
#include "../core/abi_run.hpp"
#include "../core/abi_state.hpp"
#include "../core/abi_tdx.hpp"

namespace abi = kvmtdx::abi;

#define OURS
#define SIZE(type) std::printf("sizeof(%s) %zu\n", #type, sizeof(abi::type));
#define FIELD(type, field) std::printf("%s.%s %zu\n", #type, #field, offsetof(abi::type, field));
#define NUMBER(ours, theirs) std::printf("%s %lu\n", #theirs, static_cast<unsigned long>(abi::ours));

int main() {
#include "layout_list.inc"
  std::printf("KVM_TDX_TERMINATE_VM %u\nPAGE_SIZE %zu\n", abi::kTdxTerminateVm, abi::kPageSize);
}
