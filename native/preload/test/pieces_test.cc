#include "../pieces.hpp"

#include "../../test/check.hpp"
#include "support.hpp"

using namespace kvmtdx::test;

namespace {

constexpr uint32_t kRun = 0xAE80;
constexpr uint32_t kSetCpuid2 = 0x4008AE90;
constexpr uint32_t kGetSupportedCpuid = 0xC008AE05;
constexpr uint32_t kEncryptOp = 0xC008AEBA;
constexpr uint32_t kSetMsrs = 0x4008AE89;
constexpr uint32_t kSetSignalMask = 0x4004AE8B;
constexpr uint32_t kSetMsrFilter = 0x4188AEC6;
constexpr uint32_t kClearDirtyLog = 0xC018AEC0;
constexpr uint32_t kSetOneReg = 0x4010AEAC;
constexpr uint32_t kSetNestedState = 0x4080AEBF;
constexpr uint32_t kSetDeviceAttr = 0x4018AEE1;
constexpr uint32_t kGetRegs = 0x8090AE81;
constexpr uint32_t kSetRegs = 0x4090AE82;
constexpr uint32_t kSetIrqchip = 0x8208AE63;

struct TdxCmd {
  uint32_t id;
  uint32_t flags;
  uint64_t data;
  uint64_t hw_error;
};

std::vector<Piece> OfTdx(const TdxCmd& command) { return PiecesOf(kEncryptOp, AddressOf(&command)); }

}  // namespace

TEST("a request with a value has no pieces, whatever the value") {
  CHECK(PiecesOf(kRun, 0).empty());
  CHECK(PiecesOf(kRun, ~uint64_t{0}).empty());
  CHECK(PiecesOf(0xAE01, 5).empty());
}

TEST("what KVM only writes is not read, what it reads is, and its number says which") {
  uint8_t regs[144] = {1, 2, 3};
  CHECK(PiecesOf(kGetRegs, AddressOf(regs)).empty());
  const auto pieces = PiecesOf(kSetRegs, AddressOf(regs));
  CHECK(pieces.size() == 1 && pieces[0].address == AddressOf(regs) && pieces[0].length == 144 &&
        pieces[0].bytes[2] == 3);
}

TEST("a request that KVM reads against its number is read") {
  uint8_t chip[520] = {2};
  CHECK(PiecesOf(kSetIrqchip, AddressOf(chip)).size() == 1);
}

TEST("an unknown request carries what its number says") {
  uint8_t bytes[100] = {};
  const auto pieces = PiecesOf(0x4064AEFF, AddressOf(bytes));
  CHECK(pieces.size() == 1 && pieces[0].length == 100);
}

TEST("KVM_SET_CPUID2 carries as many entries as it says, after their count") {
  std::vector<uint8_t> cpuid(8 + 3 * 40, 9);
  Store<uint32_t>(cpuid.data(), 3);
  const auto pieces = PiecesOf(kSetCpuid2, AddressOf(cpuid.data()));
  CHECK(pieces.size() == 2);
  CHECK(pieces[0].length == 8 && pieces[1].length == 120 && pieces[1].address == AddressOf(cpuid.data() + 8));
}

TEST("of KVM_GET_SUPPORTED_CPUID only the count is read") {
  uint8_t cpuid[8] = {100};
  CHECK(PiecesOf(kGetSupportedCpuid, AddressOf(cpuid)).size() == 1);
}

TEST("a count that no kernel accepts does not make it read or allocate without bound") {
  const Pages pages(1);
  for (const uint32_t request : {kSetCpuid2, kSetMsrs, 0x4008AE6Au /* KVM_SET_GSI_ROUTING */, kSetSignalMask}) {
    uint8_t* const head = pages.start();
    Store<uint32_t>(head, ~0u);
    uint64_t length = 0;
    for (const Piece& piece : PiecesOf(request, AddressOf(head))) length += piece.length;
    CHECK(length <= 256 * 1024);
  }
}

TEST("entries that cannot all be read are sent up to the bad page, the rest is marked") {
  const Pages pages(1);
  uint8_t* const head = pages.Last(8 + 40 + 4);
  Store<uint32_t>(head, 2);
  const auto pieces = PiecesOf(kSetCpuid2, AddressOf(head));
  CHECK(pieces.size() == 3);
  CHECK(pieces[1].readable && pieces[1].length == 44);
  CHECK(!pieces[2].readable && pieces[2].length == 36 && pieces[2].address == AddressOf(pages.Last(0)));
}

TEST("a struct whose count cannot be read carries no array") {
  const Pages pages(1);
  const auto pieces = PiecesOf(kSetCpuid2, AddressOf(pages.Last(2)));
  CHECK(pieces.size() == 2 && pieces[0].readable && pieces[0].length == 2 && !pieces[1].readable &&
        pieces[1].length == 6);
  CHECK(PiecesOf(kSetCpuid2, 0).size() == 1 && !PiecesOf(kSetCpuid2, 0)[0].readable);
}

TEST("KVM_TDX_CAPABILITIES: of the structure only nent is read, which may be all there is") {
  const Pages pages(1);
  const uint64_t data = AddressOf(pages.start()) - 2048;
  const auto pieces = OfTdx({0, 0, data, 0});
  CHECK(pieces.size() == 2 && pieces[0].length == 24);
  CHECK(pieces[1].address == data + 2048 && pieces[1].length == 8 && pieces[1].readable);
}

TEST("KVM_TDX_INIT_VM carries the structure and its CPUID entries") {
  std::vector<uint8_t> init(264 + 2 * 40, 0);
  Store<uint32_t>(init.data() + 256, 2);
  const auto pieces = OfTdx({1, 0, AddressOf(init.data()), 0});
  CHECK(pieces.size() == 3);
  CHECK(pieces[1].length == 264 && pieces[2].length == 80 && pieces[2].address == AddressOf(init.data() + 264));
}

TEST("KVM_TDX_INIT_VCPU and KVM_TDX_FINALIZE_VM carry a value: it is not followed") {
  CHECK(OfTdx({2, 0, 0x1000, 0}).size() == 1);
  CHECK(OfTdx({4, 0, 0x1000, 0}).size() == 1);
  CHECK(OfTdx({99, 0, 0x1000, 0}).size() == 1);
}

TEST("KVM_TDX_INIT_MEM_REGION carries its structure, not the pages") {
  uint64_t region[3] = {0x1000, 0x2000, 1};
  const auto pieces = OfTdx({3, 0, AddressOf(region), 0});
  CHECK(pieces.size() == 2 && pieces[1].length == 24);
}

TEST("KVM_X86_SET_MSR_FILTER carries a bitmap for each range that has MSRs") {
  uint8_t filter[392] = {};
  uint8_t bitmap[16] = {0xff};
  const auto range = [&](size_t index, uint32_t msrs) {
    Store<uint32_t>(filter + 8 + 24 * index + 4, msrs);
    Store<uint64_t>(filter + 8 + 24 * index + 16, AddressOf(bitmap));
  };
  range(0, 65);
  range(15, 1);
  const auto pieces = PiecesOf(kSetMsrFilter, AddressOf(filter));
  CHECK(pieces.size() == 3);
  CHECK(pieces[1].length == 16 && pieces[1].bytes[0] == 0xff);
  CHECK(pieces[2].length == 8);
}

TEST("KVM_CLEAR_DIRTY_LOG carries a bit for each page") {
  uint64_t bits = 5;
  uint8_t log[24] = {};
  Store<uint32_t>(log + 4, 64);
  Store<uint64_t>(log + 16, AddressOf(&bits));
  const auto pieces = PiecesOf(kClearDirtyLog, AddressOf(log));
  CHECK(pieces.size() == 2 && pieces[1].length == 8 && pieces[1].bytes[0] == 5);
}

TEST("KVM_SET_ONE_REG carries as many bytes as the register's id says") {
  uint64_t value[2] = {0x1122, 0};
  uint64_t reg[2] = {uint64_t{4} << 52, AddressOf(value)};
  auto pieces = PiecesOf(kSetOneReg, AddressOf(reg));
  CHECK(pieces.size() == 2 && pieces[1].length == 16 && pieces[1].bytes[0] == 0x22);
  reg[0] = uint64_t{15} << 52;
  CHECK(PiecesOf(kSetOneReg, AddressOf(reg)).size() == 1);
}

TEST("KVM_SET_NESTED_STATE carries what lies behind its header") {
  std::vector<uint8_t> state(128 + 64);
  Store<uint32_t>(state.data() + 4, 128 + 64);
  auto pieces = PiecesOf(kSetNestedState, AddressOf(state.data()));
  CHECK(pieces.size() == 2 && pieces[1].length == 64 && pieces[1].address == AddressOf(state.data() + 128));
  Store<uint32_t>(state.data() + 4, 100);
  CHECK(PiecesOf(kSetNestedState, AddressOf(state.data())).size() == 1);
}

TEST("KVM_SET_DEVICE_ATTR carries the value that it points to") {
  uint64_t value = 77;
  uint64_t attribute[3] = {0, 0, AddressOf(&value)};
  const auto pieces = PiecesOf(kSetDeviceAttr, AddressOf(attribute));
  CHECK(pieces.size() == 2 && pieces[1].length == 8 && pieces[1].bytes[0] == 77);
}
