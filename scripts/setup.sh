#!/usr/bin/env bash
# Installs what is missing to build nervus on Debian 12, 13 or Ubuntu 22.04, 24.04 (needs root or sudo only then).
#
#   scripts/setup.sh [package...]     further Debian packages to have, besides those of the build
set -euo pipefail

packages=(
  g++ cmake ninja-build                              # to build
  nlohmann-json3-dev libpcre2-dev libutf8proc-dev    # checkpoints and tokenizers
  libspng-dev libturbojpeg0-dev libdnnl-dev          # images and matrix products
  libboost-dev libssl-dev                            # the policy server, the client's encryption
  libcli11-dev doctest-dev                           # the program, the tests
  python3 python3-dev python3-venv                   # the checks, the Python package
  "$@"
)
oldest_gcc=11

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() {
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
      echo "setup: not root and there is no sudo; as root, run: apt-get install $*" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "setup: installing $*"
  "${as_root[@]}" apt-get update -qq || echo "setup: the package lists could not be refreshed; going on" >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" \
    </dev/null >/dev/null
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "setup: this is neither Debian nor Ubuntu, so nothing is installed. The build needs a C++20 compiler," >&2
  echo "setup: CMake 3.22, Ninja and the libraries of these Debian packages: ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ] && ! install_packages "${missing[@]}"; then
  echo "setup: could not install: ${missing[*]}" >&2
  exit 1
fi

compiler=${CXX:-g++}
if [ "$(basename "$compiler")" = g++ ] && [ "$("$compiler" -dumpversion | cut -d. -f1)" -lt $oldest_gcc ]; then
  echo "setup: $compiler is version $("$compiler" -dumpversion), but C++20 needs $oldest_gcc or newer;" \
    "install g++-12 and set CXX=g++-12" >&2
  exit 1
fi
echo "setup: everything the build needs is installed"
