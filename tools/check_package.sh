#!/usr/bin/env bash
# Installs a finished build, moves the installation, and builds and runs examples/ against it.
#
#   tools/check_package.sh BUILD_DIRECTORY
set -euo pipefail

if [ $# -ne 1 ]; then
  sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
source=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cmake --install "$build" --prefix "$scratch/installed" >"$scratch/log" || { cat "$scratch/log"; exit 1; }
mv "$scratch/installed" "$scratch/moved"
env -i "$scratch/moved/bin/nervus" synth --preset tiny --seed 1 --out "$scratch/tiny"
for language in cpp c; do
  cmake -S "$source/examples/$language" -B "$scratch/$language" "-DCMAKE_PREFIX_PATH=$scratch/moved"
  cmake --build "$scratch/$language"
  env -i "$scratch/$language/first_action" "$scratch/tiny" | tee "$scratch/action.$language"
  lines=$(wc -l <"$scratch/action.$language")
  if [ "$lines" -ne 14 ]; then
    echo "check_package: expected the 14 joints of the robot, found $lines lines" >&2
    exit 1
  fi
done
cmp "$scratch/action.cpp" "$scratch/action.c"
cmake -S "$source/examples/client" -B "$scratch/client" "-DCMAKE_PREFIX_PATH=$scratch/moved"
cmake --build "$scratch/client"
if "$scratch/client/robot_loop" 2>"$scratch/usage" || ! grep -q '^robot_loop: usage: ' "$scratch/usage"; then
  echo "check_package: robot_loop does not say how it is used" >&2
  exit 1
fi
for file in share/bash-completion/completions/nervus share/zsh/site-functions/_nervus \
  share/fish/vendor_completions.d/nervus.fish share/doc/nervus/LICENSE; do
  [ -s "$scratch/moved/$file" ] || { echo "check_package: $file is not installed" >&2; exit 1; }
done
