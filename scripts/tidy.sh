#!/usr/bin/env bash
# clang-format and clang-tidy (14) over native/. Fails on any finding.
set -euo pipefail
cd "$(dirname "$0")/.."

tool() {
  for name in "$1-14" "$1"; do
    if command -v "$name" >/dev/null; then
      echo "$name"
      return
    fi
  done
  echo "$1 is not installed (Debian: apt install $1-14)" >&2
  exit 1
}

format=$(tool clang-format)
tidy=$(tool clang-tidy)

"$format" --dry-run --Werror native/{core,node,test,preload,preload/test}/*.{cc,hpp} test/clients/*.[ch] test/preload/programs/*.c
npx cmake-js configure --out build-cmake >/dev/null
xargs -P "$(nproc)" -n 4 "$tidy" -p build-cmake --quiet <native/sources.txt
# Not in the addon's build. One at a time: of several, clang-tidy 14 takes every va_list for uninitialised.
printf '%s\n' native/preload/*.cc | xargs -P "$(nproc)" -n 1 -I{} "$tidy" --quiet {} -- -std=gnu++20 -fno-exceptions -fno-rtti
echo "native/ is clean"
