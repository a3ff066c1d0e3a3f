#include "../../test/check.hpp"

int main() { return kvmtdx::test::RunAll(); }
