#!/usr/bin/env bash
# Installs what is missing, builds nervus, and turns one observation of a two-armed robot (examples/aloha) into a chunk
# of actions with a small policy of random weights. Writes build/demo/actions.json and a plot, build/demo/actions.svg.
#
#   scripts/demo.sh
set -euo pipefail

if [ $# -gt 0 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0"
  [ "$1" = -h ] || [ "$1" = --help ] || exit 2
  exit 0
fi
cd "$(dirname "$0")/.."
scripts/setup.sh
scripts/build.sh build nervus_cli

nervus=build/cli/nervus
demo=build/demo
rm -rf "$demo"
mkdir -p "$demo"

echo "demo: a policy of random weights -> $demo/tiny"
$nervus synth --preset tiny --seed 1 --out "$demo/tiny"
echo "demo: three camera frames, 14 joints and \"$(cat examples/aloha/prompt.txt)\" -> actions"
$nervus run --checkpoint "$demo/tiny" --robot aloha --norm-stats examples/aloha/norm_stats.json \
  --image cam_high=examples/aloha/cam_high.png \
  --image cam_left_wrist=examples/aloha/cam_left_wrist.png \
  --image cam_right_wrist=examples/aloha/cam_right_wrist.png \
  --state examples/aloha/state.json --prompt "$(cat examples/aloha/prompt.txt)" --seed 1 \
  --out "$demo/actions.json" --plot "$demo/actions.svg"
for result in "$demo/actions.json" "$demo/actions.svg"; do
  [ -s "$result" ] || { echo "demo: $result was not written" >&2; exit 1; }
done
echo "demo: the actions are in $demo/actions.json"
echo "demo: the plot is in     $demo/actions.svg (open it in a browser)"
