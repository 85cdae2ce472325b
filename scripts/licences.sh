#!/usr/bin/env bash
# Gathers the licences of files that go to other machines with nervus: of each, what the package says that owns it.
#
#   scripts/licences.sh OUT [--given FOLDER] FILE...
#
#   OUT             the folder, made if need be: PACKAGE.txt of each, the common licences that those refer to, and
#                   files.txt, which says whose each file is
#   --given FOLDER  for files that no package of dpkg owns: FOLDER/NAME.txt, where the file is called NAME or NAME.so...
set -euo pipefail

given=
out=
files=()
while [ $# -gt 0 ]; do
  case $1 in
    --given)
      [ $# -ge 2 ] || { echo "licences: $1 needs a value" >&2; exit 2; }
      given=$2
      shift
      ;;
    *) if [ -z "$out" ]; then out=$1; else files+=("$1"); fi ;;
  esac
  shift
done
if [ -z "$out" ] || [ ${#files[@]} -eq 0 ]; then
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi

# The package that owns a file, by the name under which dpkg knows it: /lib may be a link to /usr/lib.
owner_of() {
  local name
  command -v dpkg-query >/dev/null || return 0
  for name in "$1" "${1#/usr}" "/usr$1"; do
    if dpkg-query -S "$name" 2>/dev/null | grep -v '^diversion ' | head -n 1 | sed 's/[,:].*//' | grep .; then
      return
    fi
  done
}

given_for() {
  local name
  for name in "$1" "${1%%.so*}"; do
    if [ -n "$given" ] && [ -s "$given/$name.txt" ]; then
      echo "$given/$name.txt"
      return
    fi
  done
}

refuse() {
  echo "licences: $1: $2: put its licence into a folder as $(basename "${1%%.so*}").txt and name that with --given" \
    "(package.sh: --licences; a wheel: --config-settings cmake.define.NERVUS_LICENCES=FOLDER)" >&2
  exit 1
}

mkdir -p "$out"
for file in "${files[@]}"; do
  name=$(basename "$file")
  package=$(owner_of "$(realpath "$file")")
  licence=$(given_for "$name")
  if [ -n "$licence" ]; then
    package=${name%%.so*}
  elif [ -n "$package" ]; then
    licence=/usr/share/doc/$package/copyright
    [ -s "$licence" ] || refuse "$file" "expected $licence of its package $package, found none"
  elif command -v dpkg-query >/dev/null; then
    refuse "$file" "belongs to no package of dpkg, which would have its licence"
  else
    refuse "$file" "there is no dpkg here, which would know its licence"
  fi
  install -m 644 "$licence" "$out/$package.txt"
  while read -r common; do
    [ ! -f "/usr/share/common-licenses/$common" ] ||
      install -D -m 644 "/usr/share/common-licenses/$common" "$out/common-licenses/$common"
  done < <(grep -o '/usr/share/common-licenses/[[:alnum:].+-]*[[:alnum:]]' "$licence" | sed 's,.*/,,' | sort -u)
  line="$name: $package.txt"
  grep -qsxF "$line" "$out/files.txt" || echo "$line" >>"$out/files.txt"
done
