#!/usr/bin/env bash
# Checks what git tracks: formatting, whitespace, sizes, scripts. Needs clang-format, shellcheck and python3.
#
#   tools/check_hygiene.sh
set -euo pipefail
cd "$(dirname "$0")/.."

largest_file=$((8 << 20))
status=0
complain() {
  echo "hygiene: $*" >&2
  status=1
}

mapfile -t code < <(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')
clang-format --dry-run -Werror "${code[@]}" || complain "run: clang-format -i on the files above"

mapfile -t scripts < <(git grep -lI '^#!.*bash' -- . ':!tests/fuzz/corpus')
shellcheck "${scripts[@]}" || complain "mend the scripts above"
for script in "${scripts[@]}"; do
  [ -x "$script" ] || complain "$script: run: chmod +x $script"
done
mapfile -t python < <(git ls-files '*.py')
for script in "${python[@]}"; do
  python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script" ||
    complain "$script: is not Python"
done

text=('*.h' '*.cpp' '*.cu' '*.cuh' '*.py' '*.sh' '*.cmake' '*.in' '*.txt' '*.md' '.ci/run'
  ':!tests/fuzz/corpus' ':!tests/*/data')
if git grep -nIE '[[:blank:]]+$' -- "${text[@]}"; then complain "whitespace at the ends of the lines above"; fi
if git grep -nIE '^(<<<<<<<|>>>>>>>) ' -- "${text[@]}"; then complain "merge conflicts above"; fi
if git grep -nIE '/(work|root|home/[a-z]+)/' -- "${text[@]}" ':!tools/check_hygiene.sh'; then
  complain "paths of one machine above"
fi
# Formatting keeps C++ within 120 columns, but for what cannot be broken.
if git grep -nIE '.{121}' -- '*.py' '*.sh' '*.cmake' '*CMakeLists.txt' .ci/run; then
  complain "lines over 120 columns above"
fi

while IFS= read -r -d '' file; do
  [ "$(stat -c %s "$file")" -le "$largest_file" ] || complain "$file: over $largest_file bytes"
done < <(git ls-files -z)
if git ls-files | grep -E '(^|/)(build[^/]*|__pycache__)/|\.(o|a|so|pyc)$'; then
  complain "tracked build products above"
fi
if [ "${CI:-}" = true ] && [ -n "$(git status --porcelain)" ]; then
  git status --porcelain
  complain "the build leaves files that git neither tracks nor ignores"
fi
exit $status
