#!/usr/bin/env bash
# The public openpi client and a client in LingBot's dialect each run an episode of gym-aloha (MuJoCo) against
# `nervus serve`, with rendered cameras; see episode.py. Ends with 77, which ctest takes for skipped, where PyPI is out
# of reach or nothing renders without a screen.
#
#   episode_test.sh NERVUS DIRECTORY [STEPS]     the program, where the environment may stay, control steps (200)
# shellcheck disable=SC1091,SC2034,SC2154 # what served.sh sets and reads
set -euo pipefail

nervus=$1
source=$(cd "$(dirname "$0")/../.." && pwd)
python=$("$source/tests/serve/clients_environment.sh" "$2" gym-aloha \
  openpi-client==0.1.2 typing_extensions gym-aloha==0.1.5)
renderer=
for candidate in egl osmesa; do
  [ -z "$renderer" ] || break
  ! MUJOCO_GL=$candidate "$python" -c 'import mujoco; mujoco.GLContext(64, 64).make_current()' 2>/dev/null ||
    renderer=$candidate
done
[ -n "$renderer" ] || { echo "skipped: MuJoCo renders neither with EGL (libegl1) nor with libosmesa6"; exit 77; }
. "$source/tests/serve/served.sh"

prompt=$(cat "$aloha/prompt.txt")
start_server "${policy[@]}" --prompt "$prompt"
MUJOCO_GL=$renderer "$python" "$source/tests/serve/episode.py" "$work/address.json" "$prompt" "${3:-200}" ||
  { cat "$work/log"; exit 1; }
stop_server
