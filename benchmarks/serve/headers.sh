#!/usr/bin/env bash
# Gathers what a build of engine, tokenizer and policy server needs besides CMake, g++ and the CUDA toolkit, so that it
# can be built on a machine without nervus's packages: headers of Boost (those that are used), CLI11 and nlohmann-json;
# PCRE2 and utf8proc with their static libraries.
#
#   benchmarks/serve/headers.sh FOLDER      Debian's libboost-dev, libcli11-dev, nlohmann-json3-dev, libpcre2-dev and
#                                           libutf8proc-dev are installed (scripts/setup.sh)
set -euo pipefail

if [ $# -ne 1 ] || [ -e "$1" ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  [ $# -ne 1 ] || echo "headers: $1 exists already: name another folder" >&2
  exit 2
fi
source=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$1/include" "$1/lib" "$1/share/cmake"
out=$(cd "$1" && pwd)

# Boost is 160 MB, of which the files that include it use a tenth. tls.cpp is not of an engine alone, and needs OpenSSL.
mapfile -t users < <(grep -rl --include=*.cpp --exclude=tls.cpp '<boost/' "$source/src")
for user in "${users[@]}"; do
  ${CXX:-g++} -std=c++20 -M -I "$source/src" -I "$source/include" "$user"
done | tr -s '[:space:]' '\n' | sed -n 's,^\(/.*\)/\(boost/.*\),\1 \2,p' | sort -u |
  while read -r root header; do install -D -m 644 "$root/$header" "$out/include/$header"; done

# The rest as its package has it.
for package in libcli11-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev; do
  dpkg -L "$package" >/dev/null || { echo "headers: run scripts/setup.sh first" >&2; exit 1; }
  while read -r file; do
    [ -f "$file" ] || continue
    case $file in
      /usr/include/* | /usr/share/cmake/*) install -D -m 644 "$file" "$out/${file#/usr/}" ;;
      */libpcre2-8.a | */libutf8proc.a) install -m 644 "$file" "$out/lib/" ;;
    esac
  done < <(dpkg -L "$package")
done
echo "headers: $out, $(du -sh "$out" | cut -f1)"
