// struct kvm_regs and kvm_sregs as lists of numbers, in the structs' own order without their padding.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "../core/abi.hpp"
#include "../core/error.hpp"

namespace kvmtdx::node {

inline constexpr size_t kRegsNumbers = 18;
/** Eight segments of 12, two tables of 2, five control registers, EFER, APIC base, four words of interrupt bitmap. */
inline constexpr size_t kSregsNumbers = 8 * 12 + 2 * 2 + 5 + 1 + 1 + 4;

static_assert(sizeof(abi::kvm_regs) == kRegsNumbers * sizeof(uint64_t));

inline std::array<uint64_t, kRegsNumbers> Flatten(const abi::kvm_regs& regs) {
  return std::bit_cast<std::array<uint64_t, kRegsNumbers>>(regs);
}

inline void Unflatten(std::span<const uint64_t> numbers, abi::kvm_regs& regs) {
  std::array<uint64_t, kRegsNumbers> copy{};
  for (size_t i = 0; i < copy.size(); i++) copy[i] = numbers[i];
  regs = std::bit_cast<abi::kvm_regs>(copy);
}

/** Visits every number of `sregs` in order; the one list of its fields. */
template <typename Sregs, typename Visit>
void ForEachNumber(Sregs& sregs, Visit visit) {
  for (auto* segment : {&sregs.cs, &sregs.ds, &sregs.es, &sregs.fs, &sregs.gs, &sregs.ss, &sregs.tr, &sregs.ldt}) {
    visit(segment->base);
    visit(segment->limit);
    visit(segment->selector);
    visit(segment->type);
    visit(segment->present);
    visit(segment->dpl);
    visit(segment->db);
    visit(segment->s);
    visit(segment->l);
    visit(segment->g);
    visit(segment->avl);
    visit(segment->unusable);
  }
  for (auto* table : {&sregs.gdt, &sregs.idt}) {
    visit(table->base);
    visit(table->limit);
  }
  for (auto* number : {&sregs.cr0, &sregs.cr2, &sregs.cr3, &sregs.cr4, &sregs.cr8, &sregs.efer, &sregs.apic_base}) {
    visit(*number);
  }
  for (auto& word : sregs.interrupt_bitmap) visit(word);
}

inline std::array<uint64_t, kSregsNumbers> Flatten(const abi::kvm_sregs& sregs) {
  std::array<uint64_t, kSregsNumbers> numbers{};
  size_t at = 0;
  ForEachNumber(sregs, [&](auto field) { numbers[at++] = field; });
  return numbers;
}

/** @throws ArgumentError for a number that its field cannot hold. */
inline void Unflatten(std::span<const uint64_t> numbers, abi::kvm_sregs& sregs) {
  size_t at = 0;
  ForEachNumber(sregs, [&](auto& field) {
    const uint64_t number = numbers[at++];
    field = static_cast<std::remove_reference_t<decltype(field)>>(number);
    if (field != number) ThrowRange("sregs number " + std::to_string(at - 1) + " does not fit its field");
  });
}

}  // namespace kvmtdx::node
