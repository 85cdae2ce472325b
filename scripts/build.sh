#!/usr/bin/env bash
# Configures and builds nervus.
#
#   scripts/build.sh DIRECTORY TARGET [CMake option...]     e.g. scripts/build.sh build all -DNERVUS_BENCHMARKS=OFF
#
# Uses ccache where it is installed, and as many jobs as there are cores (or JOBS).
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
source=$(cd "$(dirname "$0")/.." && pwd)
directory=$1
target=$2
shift 2

options=("$@")
[ -f "$directory/CMakeCache.txt" ] || options+=(-G Ninja)
if command -v ccache >/dev/null; then
  options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
  export CCACHE_BASEDIR="$source" CCACHE_NOHASHDIR=1  # what one checkout compiled, another one knows
fi
cmake -S "$source" -B "$directory" "${options[@]}"
cmake --build "$directory" --target "$target" --parallel "${JOBS:-$(nproc)}"
