#!/usr/bin/env bash
# The public openpi client from PyPI and a client in LingBot's dialect, against `nervus serve` with a tiny checkpoint:
# both get the bytes that `nervus run` writes. Ends with 77, which ctest takes for skipped, where PyPI is out of reach.
#
#   clients_test.sh NERVUS DIRECTORY     the program, and where the client's environment may stay
set -euo pipefail

nervus=$1
directory=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
aloha=$source/examples/aloha
environment=$directory/openpi-client
if ! [ -e "$environment/complete" ]; then
  rm -rf "$environment"
  python3 -m venv "$environment" >/dev/null || { echo "clients: there is no python3-venv"; exit 77; }
  "$environment/bin/pip" install --quiet --disable-pip-version-check openpi-client typing_extensions ||
    { echo "clients: PyPI is out of reach"; exit 77; }
  touch "$environment/complete"
fi

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
"$nervus" synth --preset tiny --seed 1 --out "$work/tiny" --quiet >/dev/null
policy=(--checkpoint "$work/tiny" --robot aloha --norm-stats "$aloha/norm_stats.json")
images=()
for camera in cam_high cam_left_wrist cam_right_wrist; do images+=(--image "$camera=$aloha/$camera.png"); done
"$nervus" run "${policy[@]}" "${images[@]}" --state "$aloha/state.json" --prompt "$(cat "$aloha/prompt.txt")" \
  --seed 1 --out "$work/run.npy" --quiet >/dev/null

"$nervus" serve "${policy[@]}" --port 0 --json >"$work/address.json" 2>"$work/log" &
server=$!
for _ in $(seq 600); do
  [ ! -s "$work/address.json" ] || break
  kill -0 "$server" || { cat "$work/log"; exit 1; }
  sleep 0.1
done
"$environment/bin/python" "$source/tests/serve/clients.py" "$work/address.json" "$aloha" "$work/run.npy" ||
  { cat "$work/log"; exit 1; }

# SIGTERM ends it with 0, soon.
kill -TERM "$server"
status=0
wait "$server" || status=$?
server=
[ "$status" -eq 0 ] || { echo "clients: the server ended with $status"; cat "$work/log"; exit 1; }
