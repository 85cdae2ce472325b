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
if ldd "$scratch/moved/bin/nervus" | grep -v 'libcublas\|libcuda' | grep 'not found'; then
  echo "package_folder_test: libraries are missing" >&2
  exit 1
fi
if "$source/scripts/package.sh" "$scratch/moved" --build-dir "$1" 2>"$scratch/refusal"; then
  echo "package_folder_test: expected a folder that exists to be refused" >&2
  exit 1
fi
grep -q 'exists already' "$scratch/refusal"
