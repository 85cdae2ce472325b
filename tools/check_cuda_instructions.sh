#!/usr/bin/env bash
# Checks that each CUDA file that names an architecture holds the matrix instructions of that architecture.
#
#   tools/check_cuda_instructions.sh BUILD_DIRECTORY
#
# Looks into the compiled objects with cuobjdump, or where there is none, into the PTX that nvcc makes of them again.
set -euo pipefail

if [ $# -ne 1 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
build=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The instruction in machine code, and in PTX.
declare -A machine=([sm90]=HGMMA [sm100]=UTCHMMA [sm110]=UTCHMMA)
declare -A portable=([sm90]=wgmma.mma_async [sm100]=tcgen05.mma [sm110]=tcgen05.mma)

find_cuobjdump() {
  command -v cuobjdump && return
  python3 -c 'import pathlib, triton; print(*pathlib.Path(triton.__file__).parent.rglob("bin/cuobjdump"))' 2>/dev/null
}

# Of an object: its instructions, as text.
disassemble() {
  if [ -n "$cuobjdump" ]; then
    "$cuobjdump" -sass "$1"
    return
  fi
  local command
  command=$(ninja -C "$build" -t commands "${1#"$build"/}" | grep -- '-x cu ' | tail -n 1)
  command=${command%% -MD *}" -ptx -x cu ${command##* -x cu }"
  command=$(sed -E 's/--generate-code=arch=([a-z0-9_]+),code=[^ ]+/-arch=\1/; s/ -c / /' <<<"$command")
  (cd "$build" && bash -c "${command% -o *} -o $scratch/one.ptx") && cat "$scratch/one.ptx"
}

cuobjdump=$(find_cuobjdump || true)
checked=0
while read -r object; do
  architecture=$(sed -E 's/.*_(sm[0-9]+)\.cu\.o/\1/' <<<"$object")
  wanted=${machine[$architecture]:-}
  [ -n "$cuobjdump" ] || wanted=${portable[$architecture]:-}
  if [ -z "$wanted" ]; then
    echo "check_cuda_instructions: $object: no matrix instruction is known for $architecture" >&2
    exit 1
  fi
  disassemble "$object" >"$scratch/text"
  if ! grep -q "$wanted" "$scratch/text"; then
    echo "check_cuda_instructions: $object: expected $wanted, found none" >&2
    exit 1
  fi
  checked=$((checked + 1))
done < <(find "$build" -name '*_sm[0-9]*.cu.o')
echo "check_cuda_instructions: $checked files hold the instructions of their architectures"
