// What KVM may read of a program's memory for each request, and which requests make a descriptor. Nothing here says
// what is accepted: the model does.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvmtdx::preload {

/** An array whose length the struct before it says. */
struct Tail {
  /** Where in the struct the u32 count is. */
  uint16_t count_at = 0;
  /** Where the array starts. */
  uint16_t first_at = 0;
  /** Bytes of an element; 0: there is no array. */
  uint16_t element = 0;
  /** KVM's own limit of the count: more is never read. */
  uint32_t most = 0;
};

/** A struct that a pointer in the argument points to. */
struct Pointed {
  /** KVM reads from this far behind the address. */
  uint16_t offset = 0;
  uint16_t length = 0;
  /** count_at and first_at are from `offset`. */
  Tail tail = {};
};

/** A bitmap that a pointer in the argument points to. */
struct Bitmap {
  uint16_t pointer_at = 0;
  /** Where the u32 count of bits is; KVM reads whole longs. */
  uint16_t bits_at = 0;
  uint32_t most_bytes = 0;
  /** The pair is repeated so often, so far apart. */
  uint16_t times = 1;
  uint16_t stride = 0;
};

enum class Follow : uint8_t {
  kNothing,
  /** `pointed` at the address at `pointer_at`. */
  kPointer,
  /** A table of `pointed` by kvm_tdx_cmd.id. */
  kTdxCommand,
  /** As many bytes as the id of a register, at 0, says. */
  kRegister,
  kBitmap,
};

enum class Makes : uint8_t {
  kNothing,
  /** A descriptor that exec closes. */
  kCloseOnExec,
  /** One that exec keeps. */
  kKept,
  /** A file of the model's, to be read; exec closes it. */
  kFile,
};

/** What this library has to do besides carrying the call. */
enum class Effect : uint8_t {
  kNone,
  /** Waits until a signal interrupts it. */
  kRun,
  /** Sets the signals that do not. */
  kSignalMask,
};

struct Shape {
  uint32_t request = 0;
  /** Bytes of the argument itself. */
  uint16_t length = 0;
  Tail tail = {};
  Follow follow = Follow::kNothing;
  uint16_t pointer_at = 0;
  Pointed pointed = {};
  Bitmap bitmap = {};
  Makes makes = Makes::kNothing;
  /** Where in the argument the number of another KVM descriptor is; 0: nowhere. */
  uint16_t descriptor_at = 0;
  Effect effect = Effect::kNone;
};

/** The longest `length` of any shape or pointed struct that more is read from. */
inline constexpr size_t kLongestHead = 520;

/** The shape of a request: its row, or what its number says of direction and size. */
Shape ShapeOf(uint32_t request);

/** What KVM_MEMORY_ENCRYPT_OP reads at kvm_tdx_cmd.data; length 0: nothing. */
Pointed TdxCommandData(uint32_t id);

}  // namespace kvmtdx::preload
