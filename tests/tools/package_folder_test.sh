#!/usr/bin/env bash
# scripts/package.sh makes a folder that runs after it was moved, without the environment or the sources.
#
#   package_folder_test.sh BUILD_DIRECTORY
set -euo pipefail

source=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$source/scripts/package.sh" "$scratch/made" --build-dir "$1"
mv "$scratch/made" "$scratch/moved"
env -i "$scratch/moved/bin/nervus" verify --checkpoint "$scratch/moved/tests/goldens/odd_one_view" \
  --case "$scratch/moved/tests/goldens/odd_one_view"
for library in "$scratch"/moved/lib/*dnnl*; do
  [ -e "$library" ] || { echo "package_folder_test: oneDNN is not in the folder" >&2; exit 1; }
done

# Each library has its licence, and so has what is compiled in.
licences=$scratch/moved/share/doc/nervus/licenses
for library in "$scratch"/moved/lib/*.so.[0-9]* json.hpp; do
  name=$(basename "$library")
  [[ $name != libnervus.so* ]] || continue
  licence=$(sed -n "s/^$name: //p" "$licences/files.txt")
  if [ -z "$licence" ] || [ ! -s "$licences/$licence" ]; then
    echo "package_folder_test: $name has no licence" >&2
    exit 1
  fi
done
[ -s "$licences/common-licenses/Apache-2.0" ] || { echo "package_folder_test: no text of Apache-2.0" >&2; exit 1; }

# A library of nobody: refused with the mend, taken with what is given, also without dpkg.
echo >"$scratch/libown.so.1"
mkdir -p "$scratch/given" "$scratch/bin"
echo "As you like." >"$scratch/given/libown.txt"
for program in bash basename cat env grep install mkdir realpath sed sort; do
  ln -s "$(command -v "$program")" "$scratch/bin/$program"
done
refused() {
  if "$@" 2>"$scratch/refusal"; then
    echo "package_folder_test: expected a refusal of $*" >&2
    exit 1
  fi
}
refused "$source/scripts/licences.sh" "$scratch/own" "$scratch/libown.so.1"
grep -q 'libown.so.1: belongs to no package of dpkg.*libown.txt.*--given' "$scratch/refusal"
refused env "PATH=$scratch/bin" "$source/scripts/licences.sh" "$scratch/own" "$scratch/libown.so.1"
grep -q 'libown.so.1: there is no dpkg here' "$scratch/refusal"
env "PATH=$scratch/bin" "$source/scripts/licences.sh" "$scratch/own" --given "$scratch/given" "$scratch/libown.so.1"
cmp "$scratch/given/libown.txt" "$scratch/own/libown.txt"

if ldd "$scratch/moved/bin/nervus" | grep -v 'libcublas\|libcuda' | grep 'not found'; then
  echo "package_folder_test: libraries are missing" >&2
  exit 1
fi
if "$source/scripts/package.sh" "$scratch/moved" --build-dir "$1" 2>"$scratch/refusal"; then
  echo "package_folder_test: expected a folder that exists to be refused" >&2
  exit 1
fi
grep -q 'exists already' "$scratch/refusal"
