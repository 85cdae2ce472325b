#!/usr/bin/env bash
# Installs what is missing, builds nervus and runs all its tests; ends with ctest's summary.
#
#   scripts/test.sh [--sanitize | --tsan] [--filter REGEX] [--build-dir DIR]
#
#   --sanitize       with AddressSanitizer and UndefinedBehaviorSanitizer, in build-sanitize/, without CUDA
#   --tsan           the tests of core, server and client alone, with ThreadSanitizer, in build-tsan/, without CUDA
#   --filter REGEX   only the tests whose name matches
#   --build-dir DIR  where to build (default: build, build-sanitize or build-tsan)
set -euo pipefail

usage() { sed -n '2,9s/^# \{0,1\}//p' "$0"; }

sanitize=
filter=
directory=
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) sanitize=address,undefined ;;
    --tsan) sanitize=thread ;;
    --filter | --build-dir)
      if [ $# -lt 2 ]; then
        echo "test: $1 needs a value" >&2
        exit 2
      fi
      if [ "$1" = --filter ]; then filter=$2; else directory=$(realpath -m "$2"); fi
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      echo "test: unknown option $1" >&2
      usage >&2
      exit 2
      ;;
  esac
  shift
done

cd "$(dirname "$0")/.."
scripts/setup.sh
if [ -n "$sanitize" ]; then
  targets=(all)
  if [ "$sanitize" = thread ]; then
    targets=(test_core test_serve test_client)
    directory=${directory:-build-tsan}
    filter=${filter:-'^(core|serve|client)$'}
  fi
  directory=${directory:-build-sanitize}
  for target in "${targets[@]}"; do
    scripts/build.sh "$directory" "$target" -DNERVUS_TESTS=ON -DNERVUS_BENCHMARKS=OFF -DNERVUS_CUDA=OFF \
      -DNERVUS_SANITIZE="$sanitize"
  done
else
  directory=${directory:-build}
  scripts/build.sh "$directory" all -DNERVUS_TESTS=ON
fi
# Two at a time of those that mostly wait; the others have the machine to themselves (PROCESSORS).
ctest --test-dir "$directory" --tests-regex "${filter:-.}" --no-tests=error --timeout 600 --parallel 2 \
  --output-on-failure
