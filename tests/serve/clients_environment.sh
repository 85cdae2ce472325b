#!/usr/bin/env bash
# The Python environment of the tests that use public clients; made once, and kept in the build tree. Prints its
# interpreter. Ends with 77, which ctest takes for skipped, where it cannot be had.
#
#   clients_environment.sh DIRECTORY NAME PACKAGE...
set -euo pipefail

environment=$1/$2
shift 2
exec 9>"$environment.lock"
flock 9
if ! [ -e "$environment/complete" ] || [ "$(cat "$environment/complete")" != "$*" ]; then
  rm -rf "$environment"
  python3 -m venv "$environment" >&2 || { echo "skipped: there is no python3-venv" >&2; exit 77; }
  "$environment/bin/pip" install --quiet --disable-pip-version-check "$@" >&2 ||
    { echo "skipped: PyPI has not, or cannot be asked for: $*" >&2; exit 77; }
  echo "$*" >"$environment/complete"
fi
echo "$environment/bin/python"
