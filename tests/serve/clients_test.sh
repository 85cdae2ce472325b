#!/usr/bin/env bash
# The public openpi client from PyPI and a client in LingBot's dialect, against `nervus serve` with a tiny checkpoint:
# alone and in company both get the bytes that `nervus run` and a C++ program write. Ends with 77, which ctest takes for
# skipped, where PyPI is out of reach.
#
#   clients_test.sh NERVUS CPP DIRECTORY     the programs, and where the client's environment may stay
# shellcheck disable=SC1091,SC2034,SC2154 # what served.sh sets and reads
set -euo pipefail

nervus=$1
cpp=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
python=$("$source/tests/serve/clients_environment.sh" "$3" openpi-client \
  openpi-client==0.1.2 typing_extensions prometheus-client)
. "$source/tests/serve/served.sh"

images=()
for camera in cam_high cam_left_wrist cam_right_wrist; do images+=(--image "$camera=$aloha/$camera.png"); done
for seed in 1 2 3 4; do
  "$nervus" run "${policy[@]}" "${images[@]}" --state "$aloha/state.json" --prompt "$(cat "$aloha/prompt.txt")" \
    --seed "$seed" --out "$work/run.$seed.npy" --quiet >/dev/null
done
"$cpp" "$work/tiny" "$aloha" 1 >"$work/cpp.f32"
start_server "${policy[@]}" --max-batch 4
"$python" "$source/tests/serve/clients.py" "$work/address.json" "$aloha" "$work" || { cat "$work/log"; exit 1; }

# Another checkpoint in its place, and a signal: the same server gives the other bytes.
"$nervus" synth --preset tiny --seed 2 --out "$work/other" --quiet >/dev/null
mv "$work/other/model.safetensors" "$work/tiny/model.safetensors"
kill -HUP "$server"
for _ in $(seq 300); do
  ! grep -q '"event":"reloaded"' "$work/log" || break
  sleep 0.1
done
"$cpp" "$work/tiny" "$aloha" 1 >"$work/other.f32"
"$python" "$source/tests/serve/clients.py" --reloaded "$work/address.json" "$aloha" "$work"
echo "no checkpoint" >"$work/tiny/model.safetensors"
kill -HUP "$server"
for _ in $(seq 300); do
  ! grep -q '"event":"reload_failed"' "$work/log" || break
  sleep 0.1
done
"$python" "$source/tests/serve/clients.py" --reloaded "$work/address.json" "$aloha" "$work"
stop_server
