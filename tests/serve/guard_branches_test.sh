#!/usr/bin/env bash
# Builds the guard and its test for coverage, runs them, and fails unless every line was run and every branch taken both
# ways.
#
#   guard_branches_test.sh [COMPILER]     GCC; gcov of the same version lies beside it
set -euo pipefail

compiler=${1:-g++}
source=$(cd "$(dirname "$0")/../.." && pwd)
version=$("$compiler" -dumpversion | cut -d. -f1)
gcov=$(command -v "gcov-$version" || command -v gcov) || { echo "guard_branches: there is no gcov"; exit 0; }
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"

flags=(-std=c++20 -O0 -I"$source/include" -I"$source/src" -I"$source/tests")
"$compiler" "${flags[@]}" --coverage -c "$source/src/serve/guard.cpp" -o guard.o
"$compiler" "${flags[@]}" -DDOCTEST_CONFIG_IMPLEMENT_WITH_MAIN -c "$source/tests/serve/guard_test.cpp" -o test.o
"$compiler" --coverage guard.o test.o -o guard_test
./guard_test >guard_test.log || { cat guard_test.log; exit 1; }
"$gcov" --branch-probabilities --branch-counts guard.o >gcov.log

# Branches into the unwinding of exceptions are the compiler's, not the guard's.
report=guard.cpp.gcov
branches=$(grep -cE '^branch ' "$report")
missed=$(grep -E '^branch +[0-9]+ (never executed|taken 0)' "$report" | grep -vc 'throw' || true)
lines=$(grep -c '#####:' "$report" || true)
if [ "$branches" -eq 0 ] || [ "$missed" -ne 0 ] || [ "$lines" -ne 0 ]; then
  grep -nE '#####:|^branch +[0-9]+ (never executed|taken 0)' -B 3 "$report" || true
  echo "guard_branches: $missed of $branches branches not taken, $lines lines not run"
  exit 1
fi
echo "guard_branches: all of $branches branches taken, all lines run"
