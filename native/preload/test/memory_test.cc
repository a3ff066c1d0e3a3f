#include "../memory.hpp"

#include <algorithm>

#include "../../test/check.hpp"
#include "support.hpp"

using namespace kvmtdx::test;
using kvmtdx::preload::ReadOwn;
using kvmtdx::preload::WriteOwn;

TEST("memory is read up to the first byte that cannot be") {
  const Pages pages(3);
  std::fill(pages.start(), pages.start() + 3 * kPage, 0x5a);
  std::vector<uint8_t> into(4 * kPage);
  CHECK(ReadOwn(AddressOf(pages.start() + 100), into.data(), into.size() - 100) == 3 * kPage - 100);
  CHECK(into[0] == 0x5a && into[3 * kPage - 101] == 0x5a && into[3 * kPage - 100] == 0);
  CHECK(ReadOwn(AddressOf(pages.Last(7, 3)), into.data(), 7) == 7);
}

TEST("no address makes it fault") {
  uint8_t into[64];
  for (const uint64_t address : {uint64_t{0}, uint64_t{1}, uint64_t{4095}, uint64_t{0x7fffffffefff},
                                 uint64_t{0x800000000000}, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 31}) {
    CHECK(ReadOwn(address, into, sizeof into) == 0);
    CHECK(!WriteOwn(address, into, sizeof into));
  }
}

TEST("a read of nothing is nothing") { CHECK(ReadOwn(AddressOf("x"), nullptr, 0) == 0); }

TEST("memory that is only readable is not written") {
  static const uint8_t constant[16] = {1};
  const uint8_t from[16] = {2};
  CHECK(!WriteOwn(AddressOf(constant), from, sizeof from));
  CHECK(constant[0] == 1);
}

TEST("a write that runs into a bad page is refused") {
  const Pages pages(1);
  const std::vector<uint8_t> from(32, 7);
  CHECK(WriteOwn(AddressOf(pages.Last(32)), from.data(), 32));
  CHECK(!WriteOwn(AddressOf(pages.Last(16)), from.data(), 32));
  CHECK(pages.Last(1)[0] == 7);
}
