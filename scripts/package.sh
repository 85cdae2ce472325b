#!/usr/bin/env bash
# Puts a finished build into a folder that runs on another Linux with the same or a newer glibc: bin/, lib/, goldens.
#
#   scripts/package.sh OUT [--build-dir DIR] [--with-cuda-libraries] [--licences FOLDER]
#
#   OUT                    the folder, which must not exist
#   --build-dir DIR        what was built (default: build)
#   --with-cuda-libraries  also cuBLASLt, some 540 MB; without it, the other machine needs the CUDA toolkit's libraries.
#                          The NVIDIA driver always is the other machine's own.
#   --licences FOLDER      of libraries that no package of dpkg owns, as scripts/licences.sh --given takes them
#
# The licences of everything in it lie in share/doc/nervus/licenses.
set -euo pipefail

usage() { sed -n '2,12s/^# \{0,1\}//p' "$0"; }

source=$(cd "$(dirname "$0")/.." && pwd)
out=
build=$source/build
with_cuda=
licences=()
while [ $# -gt 0 ]; do
  case $1 in
    --with-cuda-libraries) with_cuda=yes ;;
    --build-dir | --licences)
      if [ $# -lt 2 ]; then
        echo "package: $1 needs a value" >&2
        exit 2
      fi
      if [ "$1" = --build-dir ]; then build=$2; else licences=(--given "$2"); fi
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    -*)
      echo "package: unknown option $1" >&2
      exit 2
      ;;
    *) out=$1 ;;
  esac
  shift
done
if [ -z "$out" ]; then
  usage >&2
  exit 2
fi
[ ! -e "$out" ] || { echo "package: $out exists already: name another folder" >&2; exit 2; }
if [ ! -f "$build/cmake_install.cmake" ]; then
  echo "package: $build holds no build: run scripts/build.sh $build all" >&2
  exit 2
fi

log=$(mktemp)
mkdir -p "$out"
out=$(cd "$out" && pwd)
finished=
trap 'rm -f "$log"; [ -n "$finished" ] || rm -rf "$out"' EXIT
for component in Unspecified tests; do
  cmake --install "$build" --prefix "$out" --component "$component" --strip >"$log" || { cat "$log" >&2; exit 1; }
done
rm -rf "$out/include" "$out/lib/cmake"
mkdir -p "$out/tests"
cp -r "$source/tests/goldens" "$out/tests/"

# The libraries that the programs need, but for the C library, which belongs to the machine.
system='^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util))\.so'
cuda='^lib(cuda|cublas|cublasLt)\.so'
needs_cuda=
foreign=()
for program in "$out"/bin/* "$out"/lib/*.so; do
  while read -r name _ path _; do
    if [[ $name =~ $cuda ]]; then
      needs_cuda=yes
      if [ -z "$with_cuda" ] || [[ $name =~ ^libcuda\. ]]; then continue; fi
    fi
    [[ ! $(basename "$name") =~ $system ]] || continue
    [ "$path" != not ] || { echo "package: $program needs $name, which is not found" >&2; exit 1; }
    foreign+=("$path")
    [ -e "$out/lib/$name" ] || cp -L "$path" "$out/lib/$name"
  done < <(ldd "$program" | grep '=>' | grep -v "=> $out/")
done
# What is compiled into the programs; Boost's licence asks for nothing in what is compiled.
cached() { sed -n "s/^$1:[A-Z]*=//p" "$build/CMakeCache.txt"; }
for file in "$(cached NERVUS_JSON_INCLUDE)/nlohmann/json.hpp" "$(cached CLI11_DIR)/CLI11Config.cmake" \
  "$(cached NERVUS_JSON_INCLUDE)/doctest/doctest.h" "$(cached OPENSSL_INCLUDE_DIR)/openssl/ssl.h"; do
  [ ! -f "$file" ] || foreign+=("$file")
done
"$source/scripts/licences.sh" "$out/share/doc/nervus/licenses" "${licences[@]}" "${foreign[@]}"
finished=yes
echo "package: $out, $(du -sh "$out" | cut -f1)"
if [ -n "$needs_cuda" ] && [ -z "$with_cuda" ]; then
  echo "package: cuBLASLt is not in it; the programs look for it in the machine's CUDA toolkit. Where it lies" \
    "elsewhere than here, run them with LD_LIBRARY_PATH=<toolkit>/lib64"
fi
