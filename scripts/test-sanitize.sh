#!/usr/bin/env bash
# The native and the contract tests on an addon with the address and undefined-behaviour sanitizers, and those of the
# preload library, which bring their own.
# Arguments go to vitest. SANITIZE=thread takes the thread sanitizer instead.
set -euo pipefail
cd "$(dirname "$0")/.."

sanitize=${SANITIZE:-address,undefined}
out=build-${sanitize%%,*}
[[ $out == build-address ]] && out=build-asan

CXX=${CXX:-g++}
export CXX
npx cmake-js compile --out "$out" --CDSANITIZE="$sanitize" --CDCMAKE_CXX_COMPILER="$CXX"
# The tests of ways to end a process start others, from dist/.
npx tsc -p .

library() {
  local path
  path=$("$CXX" -print-file-name="$1")
  # A linker script or nothing is no library to preload.
  [[ -f $path ]] && readlink -f "$path"
}

if [[ $sanitize == thread ]]; then
  preload=$(library libtsan.so)
  # Node and V8 are not built for it: only races in the addon are of interest.
  export TSAN_OPTIONS="suppressions=$PWD/scripts/tsan.supp exitcode=66 report_signal_unsafe=0"
else
  preload="$(library libasan.so):$(library libubsan.so)"
  export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS:-}"
  export LSAN_OPTIONS="suppressions=$PWD/scripts/lsan.supp:print_suppressions=0"
  export UBSAN_OPTIONS="print_stacktrace=1"
fi

export KVM_TDX_NATIVE="$PWD/$out/Release/kvm_tdx.node"
# Threads, because a forked worker is killed before it reports its leaks.
LD_PRELOAD=$preload timeout -k 5 900 node node_modules/vitest/vitest.mjs run --pool=threads --no-file-parallelism \
  test/native test/contract test/preload/{core,transport,clients}.test.ts "$@"
