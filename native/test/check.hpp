// The least that a test needs.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

namespace kvmtdx::test {

struct Case {
  const char* name;
  void (*body)();
};

inline std::vector<Case>& Cases() {
  static std::vector<Case> cases;
  return cases;
}

struct Register {
  Register(const char* name, void (*body)()) { Cases().push_back({name, body}); }
};

struct Failed {};

/** One line a case; the exit status says whether all held. */
inline int RunAll() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // a case that hangs is then the one after the last line
  int failures = 0;
  for (const Case& test : Cases()) {
    bool passed = false;
    try {
      test.body();
      passed = true;
    } catch (const Failed&) {
    } catch (const std::exception& error) {
      std::printf("  unexpected: %s\n", error.what());
    }
    std::printf("%s - %s\n", passed ? "ok" : "not ok", test.name);
    if (!passed) failures++;
  }
  std::printf("%zu cases, %d failed\n", Cases().size(), failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace kvmtdx::test

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

// __COUNTER__, not __LINE__: the test files may be compiled as one.
#define TEST(text) TEST_(text, JOIN(Test, __COUNTER__))
#define TEST_(text, name)                                               \
  static void name();                                                   \
  static const kvmtdx::test::Register JOIN(register, name)(text, name); \
  static void name()

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::printf("  %s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
      throw kvmtdx::test::Failed{};                                               \
    }                                                                             \
  } while (false)

/** Evaluates to the caught exception. */
#define THROWN(type, expression)                                                           \
  [&]() -> type {                                                                          \
    try {                                                                                  \
      (void)(expression);                                                                  \
    } catch (const type& caught) {                                                         \
      return caught;                                                                       \
    }                                                                                      \
    std::printf("  %s:%d: %s did not throw " #type "\n", __FILE__, __LINE__, #expression); \
    throw kvmtdx::test::Failed{};                                                          \
  }()
